"""Dipoles inside atoms: fitted to an ab initio dielectric function, compared with it, put into the file of a trained model.

    python scripts/fit_dipoles.py MODEL --reference experiments/silicon/dielectric/gpaw-pbe.h5 --fit crystal \\
        --keep experiments/silicon/dielectric/dipoles.json --table experiments/silicon/dielectric/comparison.csv
    python scripts/fit_dipoles.py MODEL.npz --use experiments/silicon/dielectric/dipoles.json --into MODEL.npz

Prints the areas of the first peaks of eps2 and eps1(0), model to reference, without and with dipoles, for every cell of the
file (`scripts/reference_dielectric.py` makes it); those not named by --fit are predictions. With --scissor, what a level of
theory with wider gaps and the same dipoles would give is compared: silicon's bands at the gap are 0.9 eV farther apart in
HSE06 than in PBE.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from refusals import refusing  # noqa: E402

from jaxepi import hamiltonians  # noqa: E402
from jaxepi.errors import InputError  # noqa: E402
from jaxepi.files import whole  # noqa: E402
from jaxepi.fitting.dipoles import DipoleSettings, comparison, fit, read_references, shifted, spectral_form  # noqa: E402
from jaxepi.hamiltonians import dipoles  # noqa: E402
from jaxepi.optics.peaks import peak_windows  # noqa: E402

COLUMNS = ("cell", "dipoles", "quantity", "model", "reference", "ratio")

PEAKS = 4
"""Peaks of the first cell that is fitted to. Its windows serve for all cells, and the last two are counted together too: in a
thermal cell on a coarse mesh they are one line, which the edge between the windows cuts in two."""


def named(model: hamiltonians.Hamiltonian, radial: np.ndarray) -> dict[str, dict[str, float]]:
    """Radial integrals by element and pair of shells."""
    out: dict[str, dict[str, float]] = {}
    for (element, pair), value in zip(dipoles.free(model), radial, strict=True):
        out.setdefault(element, {})[pair] = round(float(value), 6)
    return out


def compared(options: argparse.Namespace, model: hamiltonians.Hamiltonian, held: dict[str, Any]) -> dict[str, Any]:
    """Fit where asked to, print and keep the table; values and where they come from."""
    references = {name: shifted(r, options.scissor) for name, r in read_references(options.reference).items()}
    missing = sorted(set(options.fit) - set(references))
    if missing:
        raise InputError(f"{options.reference} has no {', '.join(missing)}; it has {', '.join(references)}")
    forms = {}
    for name, reference in references.items():
        print(f"{name}: {len(reference.structure)} atoms, {reference.kmesh}^3 k points", flush=True)
        forms[name] = spectral_form(model, reference)
    if held:
        radial = dipoles.ordered(model, held["radial_integrals"])
    else:
        settings = DipoleSettings()
        best, value = fit([forms[n] for n in options.fit], [references[n] for n in options.fit], settings)
        radial = np.asarray(best)
        moved = f", transitions moved by {options.scissor:g} eV," if options.scissor else ""
        citation = (
            f"fitted to {options.reference.name} ({', '.join(options.fit)}){moved} with {Path(options.model).name}"
        )
        held = {"radial_integrals": named(model, radial), "citation": citation, "loss": round(float(value), 6)}
    print(f"radial integrals, angstrom: {json.dumps(named(model, radial))}")
    first = references[options.fit[0]]
    bounds = peak_windows(first.energies, first.eps2.mean(axis=0), PEAKS)
    windows, table = {f"peak {i}": w for i, w in enumerate(bounds, 1)}, []
    windows[f"peaks {PEAKS - 1} and {PEAKS}"] = (bounds[-2][0], bounds[-1][1])
    for name, reference in references.items():
        for how, x in (("without", 0 * radial), ("with", radial)):
            found = comparison(forms[name], reference, jnp.asarray(x), windows)
            table += [{"cell": name, "dipoles": how, **row} for row in found]
    print(f"{'cell':10} {'dipoles':8} {'quantity':33} {'model':>8} {'GPAW':>8} {'ratio':>6}")
    for row in table:
        numbers = f"{row['model']:8.2f} {row['reference']:8.2f} {row['ratio']:6.3f}"
        print(f"{row['cell']:10} {row['dipoles']:8} {row['quantity']:33} {numbers}")
    if options.table is not None:
        with whole(options.table) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows({n: f"{v:.4f}" if isinstance(v, float) else v for n, v in row.items()} for row in table)
    return held


@refusing
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a Hamiltonian by name, or a file")
    parser.add_argument("--reference", type=Path, metavar="H5", help="spectra to compare with")
    parser.add_argument("--fit", nargs="+", metavar="CELL", default=["crystal"], help="cells to fit to")
    parser.add_argument("--scissor", type=float, default=0.0, help="move the transitions of the spectra by so much, eV")
    parser.add_argument("--use", type=Path, metavar="JSON", help="take these radial integrals and fit nothing")
    parser.add_argument("--keep", type=Path, metavar="JSON", help="write the radial integrals")
    parser.add_argument("--table", type=Path, metavar="CSV", help="write the comparison")
    parser.add_argument("--into", type=Path, metavar="NPZ", help="write the trained model with its dipoles")
    options = parser.parse_args()
    if options.reference is None and options.use is None:
        raise InputError("nothing to fit to: give --reference, or --use with radial integrals")
    model = hamiltonians.load(options.model)
    held = read_values(options.use) if options.use is not None else {}
    if options.reference is not None:
        held = compared(options, model, held)
    if options.keep is not None:
        with whole(options.keep) as temporary:
            temporary.write_text(json.dumps(held, indent=1) + "\n")
    if options.into is not None:
        dipoles.write_into(options.model, options.into, held["radial_integrals"], held["citation"])
        print(f"written: {options.into}")
    return 0


def read_values(path: Path) -> dict[str, Any]:
    """What --keep wrote."""
    try:
        found = json.loads(path.read_text())
        return {"radial_integrals": found["radial_integrals"], "citation": str(found["citation"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no radial integrals (--keep writes them): {error}") from error


if __name__ == "__main__":
    sys.exit(main())
