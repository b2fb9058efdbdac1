"""An equivariant Hamiltonian against labelled H(R): errors of blocks, bands near the Fermi level, change along modes.

    python scripts/check_blocks.py graphene-pbe-lcao
    python scripts/check_blocks.py MODEL.npz --data experiments/bilayer_graphene/data/lcao.h5 \\
        --twisted experiments/bilayer_graphene/data/twisted.h5 \\
        --differences experiments/bilayer_graphene/checks/lcao-differences.h5

First the sets that the model may have learned from, by split, then twisted bilayers, which no model learns from: what it is
worth in another cell. Errors are mean absolute ones of all elements, before and after the best multiple of S of every
configuration. Bands are compared after that multiple is taken off, at Gamma, K and one general point of every test
configuration, in a window around the middle of the two states that meet at the Fermi level, by size of the cell. Where small
eigenvalues of S make an error of H send a state of far above among the bands, the first column of theirs shows it, and the
second, first order, does not; the last one is free of a shift of all bands of a cell, which no difference of energies feels. Of
finite differences +-Q, |error of dH| is divided by |dH|, both less their best multiples of S, and as they are.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
import scipy.linalg
from refusals import refusing

jax.config.update("jax_enable_x64", True)

from jaxepi import datasets, hamiltonians  # noqa: E402
from jaxepi.errors import InputError  # noqa: E402
from jaxepi.hamiltonians.e3 import Equivariant  # noqa: E402
from jaxepi.training.matrices import evaluation, labels  # noqa: E402
from jaxepi.training.matrices.eigenbasis import bloch  # noqa: E402

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "bilayer_graphene"
POINTS = {"Gamma": (0.0, 0.0, 0.0), "K": (1 / 3, 1 / 3, 0.0), "general": (0.137, 0.291, 0.0)}
PROJECTED = 1e-3
"""Eigenvectors of S below this are nearly combinations of the others: an error of H counts there 1/S times."""

BOND = 1.9
"""Longer than any bond, shorter than distances of second neighbours, angstrom."""

TRANSFER = 1.3
"""Errors of cells of a kind that training never saw may be so many times those of the test."""


def bands(held: labels.Matrices, onsite: np.ndarray, hopping: np.ndarray, window: float, split: str) -> list[str]:
    """Errors of bands within a window by size of the cell, and the smallest eigenvalue of S."""
    on, hop, mu = evaluation.aligned(held, onsite, hopping)
    found: dict[tuple[int, str], list[np.ndarray]] = {}
    moved, least, most, largest = 0.0, np.inf, 0.0, (0.0, -1, "")
    for c in held.rows(split):
        filled = 2 * int(held.sizes[c])  # four electrons an atom
        levels = {}
        for name, point in POINTS.items():
            k = np.array(point)
            s, label, error = (
                bloch(held, c, a, b, k)
                for a, b in ((held.own_overlap, held.overlap), (held.onsite, held.hopping), (on, hop))
            )
            values, vectors = np.linalg.eigh(s)
            least, most = min(least, values[0]), max(most, values[-1])
            kept = vectors[:, values > PROJECTED] / np.sqrt(values[values > PROJECTED])
            own, states = scipy.linalg.eigh(label, s)
            first = own + np.einsum("im,ij,jm->m", states.conj(), error, states).real
            both = (label, label + error)
            whole = own, scipy.linalg.eigh(both[1], s, eigvals_only=True)
            levels[name] = whole, (own, first), [np.linalg.eigvalsh(kept.conj().T @ h @ kept) for h in both]
        fermi = [levels["K"][0][i][filled - 1 : filled + 1].mean() for i in range(2)]
        for name, (whole, first, inside) in levels.items():
            rows = [(b - a)[np.abs(a - fermi[0]) < window] for a, b in (whole, first, inside, inside)]
            rows[3] = rows[3] - (fermi[1] - fermi[0])
            found.setdefault((int(held.sizes[c]), name), []).append(rows)
            moved = max(moved, np.abs((inside[0] - whole[0][: len(inside[0])])[:filled]).max())
            largest = max(largest, (float(np.abs(rows[2]).max(initial=0.0)), int(c), name))
    out = [
        f"Bands of {split} within {window:g} eV of the Fermi level, root mean square (largest) error, meV: all orbitals, "
        f"c^+ dH c alone, without the eigenvectors of S below {PROJECTED:g}, and these from the cell's own Fermi level",
        f"{'atoms':>6} {'cells':>6} {'point':8}{'states':>7}"
        + "".join(f"{n:>18}" for n in ("all", "first order", "without", "from it")),
    ]
    sizes = sorted({n for n, _ in found})
    for size in (*sizes, *((None,) if len(sizes) > 1 else ())):
        for name in POINTS:
            mine = [rows for (n, point), each in found.items() if point == name and size in (n, None) for rows in each]
            errors = [1e3 * np.concatenate([rows[i] for rows in mine]) for i in range(4)]
            text = "".join(
                f"{f'{np.sqrt((x**2).mean()):.2f} ({np.abs(x).max():.1f})' if len(x) else '':>18}" for x in errors
            )
            out.append(f"{size or 'all':>6} {len(mine):6d} {name:8}{len(errors[0]):7d}{text}")
    out.append(f"    (that without moves filled states of the labels by {1e3 * moved:.1f} meV at most)")
    error, worst, name = largest
    near = held.lengths < BOND
    bonds = held.lengths[near & (held.edge_of == worst)]
    known = held.lengths[near & (held.split == "train")[held.edge_of]]
    most_of = (
        "; 98% of those in training are {:.3f} to {:.3f}".format(*np.percentile(known, [1, 99])) if len(known) else ""
    )
    out.append(
        f"Largest error without them: {1e3 * error:.1f} meV at {name} of configuration {worst} ({held.what[worst]}, "
        f"{held.sizes[worst]} atoms), with bonds of {bonds.min():.3f} to {bonds.max():.3f} angstrom{most_of}"
    )
    out.append(f"Smallest eigenvalue of S(k) {least:.2e}, largest {most:.1f}")
    out.append(f"Multiples of S taken off: mean {1e3 * mu.mean():+.2f}, scatter {1e3 * mu.std():.2f} meV")
    return out


def differences(model: hamiltonians.Hamiltonian, module: Equivariant, path: Path, level: str) -> list[str]:
    """Change of H along displacements, ab initio and model."""
    rows = []
    for group in datasets.read(path).groups:
        held = labels.gathered([group], module, level)
        onsite, hopping = evaluation.predicted(model, held)
        moved = [c for c in range(len(held)) if "difference" in held.what[c]]
        plus, minus = moved[:2]
        tables = [
            {
                (i - held.first[c], j - held.first[c], *s): e
                for e, i, j, s in zip(
                    mine, held.senders[mine], held.receivers[mine], held.shifts[mine].tolist(), strict=True
                )
            }
            for c in (plus, minus)
            for mine in [np.flatnonzero(held.edge_of == c)]
        ]
        shared = sorted(tables[0].keys() & tables[1].keys())
        a, b = (np.array([t[key] for key in shared]) for t in tables)
        atoms = [slice(held.first[c], held.first[c + 1]) for c in (plus, minus)]
        change = []
        for on, hop in ((held.onsite, held.hopping), (onsite, hopping)):
            change.append(np.concatenate([on[atoms[0]] - on[atoms[1]], hop[a] - hop[b]]))
        overlap = np.concatenate([held.own_overlap[atoms[0]], held.overlap[a]])
        size = [
            np.linalg.norm(x - (x * overlap).sum() / (overlap**2).sum() * overlap)
            for x in (change[0], change[1] - change[0])
        ]
        plain = np.linalg.norm(change[1] - change[0]) / np.linalg.norm(change[0])
        rows.append(
            f"dH along a displacement of {len(group.species)} atoms: |error|/|dH| {100 * size[1] / size[0]:.2f}% up to a "
            f"multiple of S, {100 * plain:.2f}% as it is"
        )
    return rows


def compared(model: hamiltonians.Hamiltonian, path: Path, level: str, window: float) -> tuple[list[str], list[dict]]:
    """Errors of one set: the table, and its rows."""
    module = model.module
    assert isinstance(module, Equivariant)
    held = labels.gathered(datasets.read(path).groups, module, level)
    onsite, hopping = evaluation.predicted(model, held)
    rows = evaluation.error_rows(held, onsite, hopping)
    out = [f"{path.name}: {len(held)} configurations, {int(held.atoms('train').sum())} environments to learn from"]
    out += evaluation.lines(rows, ("all", "layers", "kind") if set(held.split) == {"test"} else ("all", "layers"))
    splits = [s for s in ("test", "validation", "train") if len(held.rows(s))]
    return out + bands(held, onsite, hopping, window, splits[0]), rows


def transferred(bilayers: list[dict], twisted: list[dict]) -> str:
    """How much larger errors are in twisted cells than in the bilayers of the test."""
    parts = []
    for zero in ("as it is", "up to mu S"):
        a, b = (evaluation.of_bilayers(rows, zero) for rows in (bilayers, twisted))
        parts.append(f"{zero} " + ", ".join(f"{n} {b[n] / a[n]:.2f}" for n in ("all", "labels", "onsite", "hopping")))
    return f"Errors of twisted cells over those of the test's bilayers (aim {TRANSFER}): " + "; ".join(parts)


@refusing
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped equivariant Hamiltonian by name, or a file")
    parser.add_argument("--data", type=Path, default=FOLDER / "data" / "lcao.h5")
    parser.add_argument("--thermal", type=Path, default=FOLDER / "data" / "lcao-thermal.h5")
    parser.add_argument("--twisted", type=Path, default=FOLDER / "data" / "twisted.h5")
    parser.add_argument("--differences", type=Path, default=FOLDER / "checks" / "lcao-differences.h5")
    parser.add_argument("--level", default="pbe-d3")
    parser.add_argument("--window", type=float, default=2.0, help="eV")
    options = parser.parse_args()
    model = hamiltonians.load(options.model)
    module = model.module
    if not isinstance(module, Equivariant):
        raise InputError(
            f"{options.model} is no equivariant Hamiltonian; scripts/check_hamiltonian.py is for the others"
        )
    found, bilayers = compared(model, options.data, options.level, options.window)
    print("\n".join(found))
    print("\n".join(differences(model, module, options.differences, options.level)))
    print("\n".join(["", *compared(model, options.thermal, options.level, options.window)[0]]))
    found, twisted = compared(model, options.twisted, options.level, options.window)
    print("\n".join(["", *found, transferred(bilayers, twisted)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
