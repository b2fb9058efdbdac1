"""Print what the shipped data sets hold and how far they can be trusted: the tables of experiments/README.md.

    python scripts/check_datasets.py            # print
    python scripts/check_datasets.py --write    # and put them into experiments/README.md

Sets are in experiments/<material>/data; runs at finer settings and finite differences in experiments/<material>/checks.
"""

import argparse
import collections
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from refusals import refusing
from scipy.linalg import block_diag
from timing import machine

from jaxepi import datasets
from jaxepi.datasets import Configurations, DataSet
from jaxepi.errors import InputError
from jaxepi.kpoints import find
from jaxepi.units import GPA

ROOT = Path(__file__).resolve().parents[1] / "experiments"
BEGIN, END = "<!-- printed by scripts/check_datasets.py -->", "<!-- end -->"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return [*lines, ""]


def mesh_text(mesh: tuple[float, ...]) -> str:
    """Divisions, and the shift where there is one."""
    if not mesh:
        return "-"
    divisions, shift = "x".join(f"{n:.0f}" for n in mesh[:3]), mesh[3:]
    return divisions + (" shifted" if all(s == 0.5 for s in shift) else f" + {shift}" if any(shift) else "")


def spread(values: np.ndarray, form: str = ".2f") -> str:
    """Smallest to largest."""
    return f"{values.min():{form}} to {values.max():{form}}"


def gaps(group: Configurations, level: str) -> np.ndarray | None:
    """Smallest empty minus largest occupied energy on the mesh of each configuration, eV."""
    e = group.labels[level].get("eigenvalues")
    if e is None or not group.occupied:
        return None
    return e[:, :, group.occupied].min(axis=1) - e[:, :, group.occupied - 1].max(axis=1)


def contents(name: str, data: DataSet) -> Iterator[list[str]]:
    """One row a group and level."""
    for group in data.groups:
        kinds = ", ".join(f"{n} {k}" for k, n in sorted(collections.Counter(group.kind).items()))
        splits = "/".join(str(group.split.count(s)) for s in ("train", "validation", "test"))
        known = group.seconds[np.isfinite(group.seconds)]
        seconds = f"{np.median(known):.0f}" if len(known) else "-"
        for level, labels in sorted(group.labels.items()):
            forces, gap = labels.get("forces"), gaps(group, level)
            size = np.linalg.norm(forces, axis=2) if forces is not None else None
            yield [
                name, f"{len(group)}: {kinds}", str(len(group.species)), mesh_text(group.mesh), level, splits, seconds,
                "-" if size is None else spread(size),
                "-" if forces is None else f"{np.abs(forces.sum(axis=1)).max():.0e}",
                "-" if gap is None else spread(gap),
            ]  # fmt: skip


def rows_of(data: DataSet) -> Iterator[tuple[Configurations, int]]:
    """Every configuration: its group and row."""
    for group in data.groups:
        for row in range(len(group)):
            yield group, row


def same_geometry(data: DataSet, group: Configurations, row: int) -> Iterator[tuple[Configurations, int]]:
    """The configurations of `data` with the geometry of this one, whatever their mesh."""
    for other, i in rows_of(data):
        if other.species == group.species and other.positions.shape[1] == group.positions.shape[1]:
            moved = np.abs(other.positions[i] - group.positions[row]).max()
            if moved < 1e-6 and np.abs(other.cell[i] - group.cell[row]).max() < 1e-6:
                yield other, i


def convergence(name: str, data: DataSet, finer: DataSet) -> Iterator[list[str]]:
    """Labels against those of the same geometries at finer settings, in another set or in the same: one row a level and pair
    of settings, of which either the basis or the mesh is finer.

    The shift of the energy common to all configurations is taken off the second column of energies: it moves no force
    and no barrier. Gaps are compared between the extreme states of the k points that both meshes hold.
    """
    found: dict[tuple, list] = {}
    levels = set(data.levels) & set(finer.levels)
    changed = {x: settings_that_differ(data.levels[x]["settings"], finer.levels[x]["settings"]) for x in levels}
    for group, row in rows_of(finer):
        for own, i in same_geometry(data, group, row):
            for level in sorted(set(own.labels) & set(group.labels)):
                if changed[level] and own.mesh != group.mesh:
                    continue
                if data is finer and math.prod(own.mesh[:3]) >= math.prod(group.mesh[:3]):
                    continue
                found.setdefault((level, len(own.species), own.mesh, group.mesh), []).append((own, i, group, row))
    for (level, n, mesh, fine), pairs in found.items():
        de = np.array([a.labels[level]["energy"][i] - b.labels[level]["energy"][j] for a, i, b, j in pairs]) / n
        df = np.array([a.labels[level]["forces"][i] - b.labels[level]["forces"][j] for a, i, b, j in pairs])
        dgap = [d for pair in pairs if (d := gap_difference(pair[0], pair[1], pair[2], pair[3], level)) is not None]
        yield [
            name, level, str(n), str(len(pairs)),
            changed[level] or f"{mesh_text(mesh)} to {mesh_text(fine)}",
            f"{1e3 * np.abs(de).max():.1f}", f"{1e3 * np.abs(de - de.mean()).max():.2f}" if len(de) > 1 else "-",
            f"{1e3 * np.sqrt((df**2).mean()):.1f} ({1e3 * np.abs(df).max():.1f})",
            f"{1e3 * np.abs(dgap).max():.1f}" if dgap else "-",
        ]  # fmt: skip


BASIS = {"ecutwfc_ry": "Ry", "ecut_ev": "eV", "grid_angstrom": "Å grid", "grid_points": "grid points"}
"""Settings of the basis that a finer run changes, and their units."""


def settings_that_differ(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    """ "25.0 to 35.0 Ry", or nothing where the basis is the same."""
    found = [(n, u) for n, u in BASIS.items() if one.get(n) != two.get(n)]
    return ", ".join(f"{one.get(n, '-')} to {two.get(n, '-')} {u}" for n, u in found)


def gap_difference(a: Configurations, i: int, b: Configurations, j: int, level: str) -> float | None:
    """Difference of the gaps between the extreme states of the shared k points, eV."""
    one, two = (x.labels[level].get("eigenvalues") for x in (a, b))
    if one is None or two is None or a.occupied == 0:
        return None
    rows = [(p, find(b.kpoints, k)) for p, k in enumerate(a.kpoints)]
    shared = [(p, q) for p, q in rows if q is not None]
    if not shared:
        return None
    p, q = (list(x) for x in zip(*shared, strict=True))
    n = a.occupied
    gap_one, gap_two = (e[:, n].min() - e[:, n - 1].max() for e in (one[i, p], two[j, q]))
    return float(gap_one - gap_two)


def differences(name: str, data: DataSet) -> Iterator[list[str]]:
    """Finite differences of the energy against forces and stress: one row a base, level and kind."""
    for group in data.groups:
        for base in [i for i, kind in enumerate(group.kind) if kind == "base"]:
            mine = [i for i in range(len(group)) if group.extra["base"][i] == group.extra["base"][base]]
            for kind in sorted({group.kind[i] for i in mine} - {"base"}):
                pair = [i for i in mine if group.kind[i] == kind]
                if len(pair) != 2:
                    continue
                for level, labels in sorted(group.labels.items()):
                    row = difference(group, labels, base, pair[0], pair[1], kind)
                    if row:
                        yield [name, level, str(len(group.species)), mesh_text(group.mesh), *row]


def difference(group: Configurations, labels: dict, base: int, plus: int, minus: int, kind: str) -> list[str] | None:
    """Kind, finite difference, analytical value and their distance, with units."""
    de = labels["energy"][plus] - labels["energy"][minus]
    if kind == "difference-forces":
        move = group.positions[plus] - group.positions[minus]
        length = np.linalg.norm(move)
        work = -float((labels["forces"][base] * move).sum())
        return ["force along a direction", *(f"{v / length:.4f} eV/Å" for v in (de, work)),
                f"{1e3 * abs(de - work) / length:.2f} meV/Å"]  # fmt: skip
    if "stress" not in labels:
        return None
    strain = np.linalg.solve(group.cell[base], group.cell[plus] - group.cell[minus])
    volume = abs(np.linalg.det(group.cell[base]))
    size = np.linalg.norm(strain)
    work = float((labels["stress"][base] * strain).sum())
    return [kind.replace("difference-", "") + " stress", *(f"{v / size / GPA:.3f} GPa" for v in (de / volume, work)),
            f"{abs(de / volume - work) / size / GPA:.3f} GPa"]  # fmt: skip


def matrices(name: str, data: DataSet) -> Iterator[list[str]]:
    """H(R), S(R): how exact they are before and after rounding in the file, and what lies beyond their reach."""
    for group in data.groups:
        held = group.blocks
        if held is None:
            continue
        own = (held.pairs[:, 0] == held.pairs[:, 1]) & ~held.pairs[:, 2:].any(axis=1)
        skew = max(float(np.abs(m[own] - m[own].swapaxes(1, 2)).max()) for m in (held.hamiltonian, held.overlap))
        before = [group.extra[n].max() for n in ("round_trip_ev", "overlap_rebuilt", "beyond_reach_ev")]
        off = group.extra.get("off_mesh_ev")
        yield [
            name, str(len(group)), str(len(group.species)), mesh_text(group.mesh), f"{held.hamiltonian.shape[1]}",
            f"{skew:.0e}", *(f"{v:.0e}" for v in before), "-" if off is None else f"{off.max():.0e}",
            f"{rounded_round_trip(group):.0e}",
        ]  # fmt: skip


def rounded_round_trip(group: Configurations, count: int = 3) -> float:
    """Largest difference of the stored eigenvalues and those of H(R), S(R) as they are in the file, eV.

    Of the first `count` configurations, on all k points.
    """
    from scipy.linalg import eigh

    held = group.blocks
    assert held is not None
    worst = 0.0
    for row in range(min(count, len(group))):
        for k, stored in zip(group.kpoints, group.labels[held.level]["eigenvalues"][row], strict=True):
            found = eigh(*held.bloch(row, k, len(group.species)), eigvals_only=True)[: len(stored)]
            worst = max(worst, float(np.abs(found - stored).max()))
    return worst


def sizes(name: str, data: DataSet) -> Iterator[list[str]]:
    """The crystal at rest, one lattice constant: energies an atom of each cell and mesh, against the first."""
    found: dict[tuple, list] = {}
    for group, i in rows_of(data):
        if group.kind[i] == "unstrained":
            volume = round(float(abs(np.linalg.det(group.cell[i]))) / len(group.species), 3)
            for level in group.labels:
                found.setdefault((level, volume), []).append((group, i))
    for (level, volume), rows in found.items():
        if len({len(group.species) for group, _ in rows}) < 2:
            continue
        energies = [float(g.labels[level]["energy"][i]) / len(g.species) for g, i in rows]
        for (group, _), e in zip(rows, energies, strict=True):
            n, mesh = str(len(group.species)), mesh_text(group.mesh)
            yield [name, level, f"{volume:.3f}", n, mesh, f"{1e3 * (e - energies[0]):.2f}"]


def rotation_of_orbitals(shells: tuple[str, ...], rotation: np.ndarray) -> np.ndarray:
    """How the orbitals of one atom (e3nn's order, jaxepi.hamiltonians.basis) turn with the structure."""
    points = np.random.default_rng(0).normal(size=(40, 3))
    x, y, z = points.T
    r2, q = (points**2).sum(axis=1), 3**-0.5

    def functions(x, y, z):
        d = np.stack([x * z, x * y, q * (1.5 * y**2 - r2 / 2), y * z, (z**2 - x**2) / 2])
        return {"s": np.ones((1, len(x))), "p": np.stack([x, y, z]), "d": d}

    before, after = functions(x, y, z), functions(*(points @ rotation).T)
    turns = {s: np.linalg.lstsq(before[s].T, after[s].T, rcond=None)[0] for s in before}
    return block_diag(*(turns[shell] for shell in shells))


def rotated(name: str, data: DataSet) -> Iterator[list[str]]:
    """H and S of a turned structure against the turned H and S of the original."""
    for group in data.groups:
        held = group.blocks
        if held is None or "rotated" not in group.kind or "base" not in group.kind:
            continue
        one, two = (held.take(np.array([group.kind.index(kind)])) for kind in ("base", "rotated"))
        cells = [group.cell[group.kind.index(kind)] for kind in ("base", "rotated")]
        turn = rotation_of_orbitals(held.shells, np.linalg.solve(cells[0], cells[1]).T)
        row = [name, str(len(group.species))]
        if not np.array_equal(one.pairs, two.pairs):
            raise InputError(f"{name}: the rotated structure has other pairs")
        for a, b in ((one.hamiltonian, two.hamiltonian), (one.overlap, two.overlap)):
            row.append(f"{np.abs(turn @ a @ turn.T - b).max():.0e}")
        yield row


def gamma_to_x(data: DataSet, level: str = "hse06") -> Iterator[list[str]]:
    """Lowest conduction energy along Gamma-X above the top of the valence band at Gamma, eV.

    Of the unstrained primitive cell at the measured lattice constant, from all its meshes: each is self-consistent, has
    the density of 4x4x4, and reaches other points of the line.
    """
    cells = [(g, i) for g, i in rows_of(data) if len(g.species) == 2 and g.kind[i] == "unstrained"]
    cells = [(g, i) for g, i in cells if g.around[i] == "measured" and "eigenvalues" in g.labels.get(level, {})]
    line: dict[float, float] = {}
    top = None
    for group, i in cells:
        for k, e in zip(group.kpoints, group.labels[level]["eigenvalues"][i], strict=True):
            u = round(abs(float(k[0])) * 2, 6)
            if abs(k[2]) < 1e-6 and abs(k[0] - k[1]) < 1e-6:
                line[u] = float(e[group.occupied])
                if u == 0:
                    top = float(e[group.occupied - 1])
    if top is None or len(line) < 4:
        return
    for u, e in sorted(line.items()):
        yield [f"{u:.3f}", f"{e - top:.3f}"]
    x, y = np.array(sorted(line.items())).T
    near = np.abs(x - x[y.argmin()]) < 0.26
    fit = np.polynomial.Polynomial.fit(x[near], y[near] - top, min(3, int(near.sum()) - 1))
    fine = np.linspace(x[near].min(), x[near].max(), 2001)
    yield [
        f"minimum of a cubic through the points near it, at {fine[fit(fine).argmin()]:.3f}",
        f"{fit(fine).min():.3f}",
    ]


def report() -> list[str]:
    """All tables, as lines of Markdown."""
    lines = [f"Printed by `python scripts/check_datasets.py` ({machine()}).", ""]
    sets = {p: datasets.read(p) for p in sorted(ROOT.glob("*/data/*.h5"))}
    checks = {p: datasets.read(p) for p in sorted(ROOT.glob("*/checks/*.h5"))}
    runs = {**sets, **checks}
    name = {p: f"{p.parts[-3]}/{p.stem}" for p in runs}
    lines += ["### What the sets hold", ""]
    head = ["set", "count by kind", "atoms", "k mesh", "level", "train/val./test", "s a configuration", "\\|F\\| eV/Å",
            "largest sum of F", "gap on the mesh, eV"]  # fmt: skip
    lines += table(head, [row for p, data in sets.items() for row in contents(name[p], data)])
    total = ", ".join(f"{name[p]} {len(data)} ({p.stat().st_size / 1e6:.2f} MB)" for p, data in sets.items())
    lines += [f"Configurations: {total}.", ""]
    lines += ["### Convergence", ""]
    head = ["set", "level", "atoms", "configurations", "from, to", "energy, meV/atom", "same less common shift",
            "forces, meV/Å: rms (largest)", "gap, meV"]  # fmt: skip
    pairs = [
        (p, q) for p in sets for q in runs if p.parts[-3] == q.parts[-3] and (p == q or q.stem.startswith(f"{p.stem}-"))
    ]
    pairs = [(p, q) for p, q in pairs if not q.stem.endswith(("differences", "rotated"))]
    lines += table(head, [row for p, q in pairs for row in convergence(name[p], sets[p], runs[q])])
    lines += ["The crystal at rest in several cells: do their meshes give one energy an atom?", ""]
    head = ["set", "level", "Å³/atom", "atoms", "k mesh", "meV/atom, from the first"]
    lines += table(head, [row for p, data in sets.items() for row in sizes(name[p], data)])
    lines += ["### Forces and stress against finite differences of the energy", ""]
    head = ["runs", "level", "atoms", "k mesh", "what", "finite difference", "from the label", "off by"]
    found = [row for p, data in checks.items() if "differences" in p.stem for row in differences(name[p], data)]
    lines += table(head, found)
    exact = [row for p, data in runs.items() for row in matrices(name[p], data)]
    if exact:
        lines += ["### H(R) and S(R)", ""]
        head = ["set", "configurations", "atoms", "k mesh", "orbitals an atom", "largest antisymmetric part, eV",
                "bands rebuilt against the code's, eV", "S rebuilt from its functions, off by",
                "largest element of H beyond the reach, eV", "bands off the mesh against a direct calculation, eV",
                "bands after rounding in the file, eV"]  # fmt: skip
        lines += table(head, exact)
        lines += ["Turned in space (original turned by the claimed orbital order against the turned structure):", ""]
        turned = [row for p, data in checks.items() for row in rotated(name[p], data)]
        lines += table(["runs", "atoms", "H off by, eV", "S off by"], turned)
    for p, data in sets.items():
        rows = list(gamma_to_x(data))
        if rows:
            lines += [f"### {name[p]}: lowest conduction energy along Gamma-X above the valence top, HSE06", ""]
            lines += table(["fraction of Gamma-X", "eV"], rows)
    return lines


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line; exits with 2 when a set is damaged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into experiments/README.md")
    options = parser.parse_args(arguments)
    text = "\n".join(report())
    print(text)
    if options.write:
        readme = ROOT / "README.md"
        before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
        readme.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
