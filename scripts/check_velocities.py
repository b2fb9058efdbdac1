"""Velocities of orbitals that overlap against GPAW's momenta of the same states: what positions from tables are worth.

    PYTHON_WITH_GPAW scripts/check_velocities.py [--mesh 9] [--displaced 0.04]

Labels one layer of graphene (a cell of two atoms, displaced so that no states are degenerate), takes H and S as they are, and
compares |<c|hbar v|v>|^2 of the four filled and the four lowest empty bands with (hbar^2/m)^2 |<c|-i nabla|v>|^2 of GPAW's wave
functions on its grid with all PAW terms: with dipoles centred on atoms, with those of the tables, and with what the tables lack
(the dipoles of partial waves within atoms, from GPAW's setup). The rest is the basis: r that leaves it is cut off.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax

jax.config.update("jax_enable_x64", True)

import ase  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from ase import units  # noqa: E402
from refusals import refusing  # noqa: E402
from timing import machine  # noqa: E402

from jaxepi import tree  # noqa: E402
from jaxepi.graph import build_graph  # noqa: E402
from jaxepi.hamiltonians import Blocks, e3, positions  # noqa: E402
from jaxepi.hamiltonians.bloch import cartesian  # noqa: E402
from jaxepi.hamiltonians.overlap import Overlap  # noqa: E402
from jaxepi.labelling import labels, packing  # noqa: E402
from jaxepi.labelling.engines import Mesh  # noqa: E402
from jaxepi.labelling.engines.gpaw_lcao import GpawLcao, to_e3nn  # noqa: E402
from jaxepi.labelling.recipes import RECIPES  # noqa: E402
from jaxepi.labelling.structures import annotate  # noqa: E402
from jaxepi.labelling.structures.carbon import layers  # noqa: E402
from jaxepi.optics.momentum import orthonormal  # noqa: E402
from jaxepi.structure import Structure  # noqa: E402
from jaxepi.training.matrices import labels as gathering  # noqa: E402

HBAR2_M = units._hbar**2 / units._me / units._e * 1e20
"""hbar^2/m, eV angstrom^2."""

FILLED, EMPTY = 4, 4


def momenta(calculator, k: int, bands: int) -> np.ndarray:
    """(hbar^2/m) <m|-i nabla|n> of GPAW's states at a point of its mesh, eV angstrom, shape (3, m, n)."""
    wfs = calculator.wfs
    cell = calculator.atoms.cell.array
    u = np.array([calculator.get_pseudo_wave_function(n, k, periodic=True) for n in range(bands)])
    sizes = u.shape[1:]
    waves = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in sizes), indexing="ij"), axis=-1)
    waves = (waves + np.asarray(calculator.get_ibz_k_points())[k]) @ (2 * np.pi * np.linalg.inv(cell).T)
    found, volume = np.fft.fftn(u, axes=(1, 2, 3)), abs(np.linalg.det(cell)) / np.prod(sizes) ** 2
    smooth = np.einsum("mxyz,xyza,nxyz->amn", found.conj(), waves, found, optimize=True) * volume
    inside = sum(
        np.einsum("mi,ija,nj->amn", p[:bands].conj(), -1j * wfs.setups[a].nabla_iiv, p[:bands]) / units.Bohr
        for a, p in wfs.kpt_u[k].P_ani.items()
    )
    return HBAR2_M * (smooth + inside)


def partial_waves(setup) -> np.ndarray:
    """Dipoles of partial waves less those of the smooth ones, angstrom, e3nn's order, shape (3, p, p)."""
    from gpaw.utilities import unpack_hermitian

    turn = to_e3nn()
    y, z, x = (unpack_hermitian(setup.Delta_pL[:, l].copy()) for l in (1, 2, 3))
    return (4 * np.pi / 3) ** 0.5 * units.Bohr * np.array([turn @ d @ turn.T for d in (x, y, z)])


def blocks_of(stem: Path, level: str, setup) -> tuple[dict[str, Blocks], tuple]:
    """H and S of a label on the edges of a graph, without positions, with those of tables, and with those of atoms."""
    group, _ = packing.load(stem.with_suffix(".npz"))
    assert group.blocks is not None
    assert group.blocks.functions is not None
    overlap, tables = Overlap.of(group.blocks.functions)
    basis = e3.carried(overlap, group.blocks.shells, 6, 4.0)
    module = e3.configured({"kind": "equivariant", "interactions": 0}, basis, overlap)
    held = gathering.gathered([group], module, level)
    structure = Structure.create(group.positions[0], group.cell[0], group.species, group.pbc)
    graph = build_graph(structure, module.cutoff, 0.0, module.relations)
    plain = Blocks(*(jnp.asarray(x) for x in (held.onsite, held.hopping, held.overlap)), basis, structure.species)
    plain = tree.replace(plain, onsite_overlap=jnp.asarray(held.own_overlap))
    table = graph.tables[-1]
    own, between = positions.apply(overlap, tables, structure, graph, table)
    more = overlap.three_centre(tables, jnp.asarray(partial_waves(setup)), structure, graph, table)
    whole = own + jnp.moveaxis(more[0], 0, 1), between + jnp.moveaxis(more[1], 0, 1)
    found = {
        "centred on atoms": plain,
        "of the tables": tree.replace(plain, dipoles=own, edge_dipoles=between),
        "also of partial waves": tree.replace(plain, dipoles=whole[0], edge_dipoles=whole[1]),
    }
    return found, (structure, graph)


@refusing
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", type=int, default=9)
    parser.add_argument("--displaced", type=float, default=0.04, help="of a component, angstrom")
    options = parser.parse_args()
    settings = RECIPES["carbon-lcao"][1]
    engine = GpawLcao(**{**settings, "forces": False})
    atoms = annotate(layers(1, None), "monolayer", "pbe", (options.mesh, options.mesh, 1))
    atoms.positions[1] += options.displaced * np.array([0.7, -1.0, 1.3])
    work = ase.Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    work.calc = engine.calculator(work, Mesh.of(atoms), None)
    work.get_potential_energy()
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "layer"
        if reason := labels.label_one(engine, atoms, stem):
            raise SystemExit(reason)
        every, (structure, graph) = blocks_of(stem, engine.level, work.calc.wfs.setups[0])
    vectors, bands = graph.vectors(structure), FILLED + EMPTY
    points = np.asarray(work.calc.get_ibz_k_points())
    direct, found = [], {name: [] for name in every}
    for k, point in enumerate(points):
        p = momenta(work.calc, k, bands)
        own = np.asarray(work.calc.get_eigenvalues(kpt=k))[:bands]
        direct.append(np.abs(p[:, :FILLED, FILLED:]) ** 2)
        for name, blocks in every.items():
            h, w = jax.jit(orthonormal)(blocks, graph, vectors, cartesian(jnp.asarray(point), structure))
            e, states = np.linalg.eigh(h)
            assert np.abs(e[:bands] - own).max() < 1e-5, "states of the blocks are not GPAW's"
            v = states.conj().T @ np.asarray(w.blocks) @ states
            found[name].append(np.abs(v[:, :FILLED, FILLED:bands]) ** 2)
    exact = np.array(direct)
    print(machine())
    print(
        f"{len(points)} k points; (hbar^2/m)^2 |<c|nabla|v>|^2 of GPAW, sum over {FILLED} x {EMPTY} bands and k: in the"
    )
    print(f"plane {exact[:, :2].sum():.1f}, across it {exact[:, 2].sum():.1f} eV^2 angstrom^2")
    print(f"{'dipoles':24}{'in the plane':>14}{'across':>10}   sum over GPAW's; then sum |difference| over GPAW's sum")
    for name, values in found.items():
        v = np.array(values)
        parts = [(v[:, :2], exact[:, :2]), (v[:, 2:], exact[:, 2:])]
        sums = [a.sum() / b.sum() for a, b in parts]
        errors = [np.abs(a - b).sum() / b.sum() for a, b in parts]
        print(f"{name:24}{sums[0]:14.3f}{sums[1]:10.3f}{errors[0]:14.3f}{errors[1]:10.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
