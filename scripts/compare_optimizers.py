"""How far optimizers come in the same epochs: a potential trained with each.

    python scripts/compare_optimizers.py experiments/silicon/potential.toml WORK [--epochs 30] [--with soap=0.02 amsgrad=0.01]

Prints errors of the training and the validation set after every part of the epochs. Everything but algorithm and learning
rate is that of the file. Runs keep their state in WORK and go on there.
"""

import argparse
import dataclasses
from pathlib import Path

from refusals import refusing
from timing import machine

from jaxepi.errors import InputError
from jaxepi.training import TrainingSettings
from jaxepi.workflows.training import configured, train_potential

PARTS = (3, 1.5, 1)
"""Of the epochs: after a third, two thirds and all of them."""


def settings(base: TrainingSettings, algorithm: str, rate: float, epochs: int) -> TrainingSettings:
    """Those of one run."""
    return dataclasses.replace(
        base,
        optimizer=dataclasses.replace(base.optimizer, algorithm=algorithm, learning_rate=rate),
        run=dataclasses.replace(base.run, epochs=epochs),
    )


@refusing
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="TOML file of a potential")
    parser.add_argument("work", type=Path, help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--with", dest="chosen", nargs="+", default=["soap=0.02", "amsgrad=0.01"], metavar="NAME=RATE")
    options = parser.parse_args(arguments)
    base = configured(options.config)
    options.work.mkdir(parents=True, exist_ok=True)
    print(
        f"{machine()}; {options.config.parent.name}, meV/atom and meV/angstrom of the training and the validation set"
    )
    print(f"{'algorithm':>10s} {'rate':>7s} {'epoch':>6s} {'minutes':>8s}" + 2 * f" {'energy':>9s} {'forces':>9s}")
    for chosen in options.chosen:
        algorithm, _, rate = chosen.partition("=")
        try:
            number = float(rate)
        except ValueError as error:
            raise InputError(f"--with {chosen}: give an algorithm and its learning rate, soap=0.02") from error
        made = settings(base, algorithm, number, options.epochs)
        fit = train_potential(made, options.work / f"{algorithm}-{rate}", command=Path(__file__).name).fit
        for part in PARTS:
            row = fit.history[max(1, round(len(fit.history) / part)) - 1]
            errors = (row[f"{split}{name}"] for split in ("", "validation_") for name in ("energy_mev", "forces_mev"))
            numbers = " ".join(f"{x:9.3f}" for x in errors)
            print(f"{algorithm:>10s} {rate:>7s} {row['epoch']:6d} {row['seconds'] / 60:8.1f} {numbers}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
