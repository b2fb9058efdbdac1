"""A learned Hamiltonian of silicon from a DeePTB data set alone, scored on frames that training does not see.

    python experiments/silicon/peer.py FOLDER [--epochs 1500] [--output FOLDER-jaxepi]

FOLDER holds DeePTB data folders (info.json, xdat.traj, kpoints.npy, eigenvalues.npy): one of the perfect crystal and one
of molecular dynamics frames of 8 atoms, 28 bands on 354 points of a path. Of the frames, the last three are the test and
the one before them validation. Prints the peer's measures, and the seconds of a step: errors of all bands with both spectra
aligned at their minima, and of those in a window about the valence edge with both aligned there, as the window is. Writes
peer.csv, the state and the model into the output folder.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import jax
import numpy as np

from jaxepi import training
from jaxepi.datasets import deeptb
from jaxepi.hamiltonians import learned
from jaxepi.training.bands import spectra
from jaxepi.training.core.loop import transformation
from jaxepi.training.core.metrics import write_metrics
from jaxepi.training.settings import BandLossSettings

MODEL = {"base": "si-niquet2009", "cutoff": 6.0, "switch": [2.9, 3.3]}
LOSS = BandLossSettings(align="edge", near=2.0, near_width=4.0, edge=4.0, edge_width=1.25, gap=1.0, points=20)
"""Both spectra aligned at the valence edge, as the peer's score of the window is."""
WINDOW = (-5.0, 4.0)
"""eV about the valence edge, the peer's second measure."""


def groups(folder: Path, hamiltonian) -> list[spectra.Group]:
    """The data, split by hand."""
    found = deeptb.read(folder, level="dft", electrons={"Si": 4})
    out = []
    for held in found.groups:
        count = len(held)
        split = ("train",) * count
        if count >= 10:
            split = ("train",) * (count - 4) + ("validation",) + ("test",) * 3
        out.append(spectra.Group.of(dataclasses.replace(held, split=split), "dft", 1.0, hamiltonian, 0, False))
    return out


def measures(group: spectra.Group, found: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Errors of some frames: of all bands, aligned at the minima; of those in the window, aligned at the valence edge; of
    the gap; meV."""
    pair = group.energies[rows], found[rows]
    label, model = (spectra.aligned(x, group.occupied, "minimum") for x in pair)
    edge, near = (spectra.aligned(x, group.occupied, "edge") for x in pair)
    inside = (edge >= WINDOW[0]) & (edge <= WINDOW[1])
    gaps = spectra.gap(model, group.occupied) - spectra.gap(label, group.occupied)
    return {
        "bands": 1e3 * float(np.sqrt(np.mean((model - label) ** 2))),
        "window": 1e3 * float(np.sqrt(np.mean((near - edge)[inside] ** 2))),
        "gap_bias": 1e3 * float(gaps.mean()),
        "gap_scatter": 1e3 * float(gaps.std()),
    }


def seconds_a_step(problem: spectra.BandProblem, params, repeats: int = 10) -> float:
    """Processor seconds of loss, gradient and update on one frame of the largest group."""
    plan = max(problem.plans("train"), key=lambda p: problem.groups[p.group].energies[0].size)  # all k points
    loop = transformation(training.OptimizerSettings())
    state = loop.init(params)

    @jax.jit
    def step(params, state, arrays):
        slope = jax.grad(lambda p: problem.loss(p, arrays, plan)[0])(params)
        return loop.update(slope, state, params)

    jax.block_until_ready(step(params, state, problem.arrays))
    start = time.process_time()
    for _ in range(repeats):
        jax.block_until_ready(step(params, state, problem.arrays))
    return (time.process_time() - start) / repeats


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=1500)
    parser.add_argument(
        "--output", type=Path, default=Path("silicon-peer"), help="folder of state, measures (peer.csv) and model"
    )
    parser.add_argument("--timing", action="store_true", help="only time a step")
    options = parser.parse_args()
    hamiltonian = learned.build(MODEL, jax.random.key(0))
    problem = spectra.BandProblem(hamiltonian, groups(options.folder, hamiltonian), LOSS, batch_atoms=8)
    if options.timing:
        print(
            f"{seconds_a_step(problem, problem.initial()):.3f} processor seconds a step of 8 atoms, 354 k points, float32"
        )
        return
    options.output.mkdir(parents=True, exist_ok=True)
    optimizer = training.OptimizerSettings(
        algorithm="soap", learning_rate=0.003, schedule="cosine", warmup=5.0, stop=options.epochs
    )
    run = training.RunSettings(epochs=options.epochs)
    predict = training.predictor(problem)
    state = options.output / "state.npz"
    own = {"model": MODEL, "loss": str(LOSS), "epochs": options.epochs}
    metrics = options.output / "metrics.csv"
    fit = training.fit(
        problem, problem.initial(), optimizer, run, state=state, metrics=metrics, fingerprint=own, predict=predict
    )
    rows = []
    for split in ("train", "validation", "test"):
        plans = problem.plans(split)
        found = problem.collect(plans, jax.device_get([predict(fit.params, problem.arrays, p) for p in plans]))
        for group, energies in zip(problem.groups, found, strict=True):
            chosen = problem.rows(group, split)
            if len(chosen):
                atoms = len(group.held.species)
                row = {"split": split, "atoms": atoms, "frames": len(chosen), **measures(group, energies, chosen)}
                rows.append(row)
                print(
                    ", ".join(f"{n} {v:.1f}" if isinstance(v, float) else f"{n} {v}" for n, v in row.items()),
                    flush=True,
                )
    write_metrics(options.output / "peer.csv", rows)
    card = {"citation": "trained by experiments/silicon/peer.py on a DeePTB data set"}
    learned.write(dataclasses.replace(hamiltonian, params=fit.params), MODEL, options.output / "hamiltonian.npz", card)
    print(f"{seconds_a_step(problem, fit.params):.3f} processor seconds a step of 8 atoms, 354 k points, float32")


if __name__ == "__main__":
    main()
