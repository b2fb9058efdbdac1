"""What the checks of potentials compute, on potentials whose answers are known."""

import dataclasses

import ase
import check_potential as check
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import datasets, units
from jaxepi.errors import InputError
from jaxepi.labelling.structures.carbon import CARBON, layers
from jaxepi.labelling.structures.checks import bilayer_layers, bilayer_phonons, graphene_strains
from jaxepi.potentials import EnergyModule, Potential
from jaxepi.structure import Structure


@dataclasses.dataclass(frozen=True)
class Springs(EnergyModule):
    """Bilayers held together by springs: bonds and second neighbours in a layer, and its neighbours in the other."""

    cutoff: float = 4.0
    skin: float = 0.6
    species: tuple[int, ...] = ()
    a: float = 2.45
    height: float = 3.35
    stiffness: float = 0.05

    def apply(self, variables, structure, graph):
        v = graph.vectors(structure)
        r = jnp.linalg.norm(v, axis=1)
        reference = jnp.linalg.norm(graph.reference, axis=1)
        flat = jnp.abs(graph.reference[:, 2]) < 1.0
        bond, second = flat & (reference < 1.8), flat & (reference > 2.2) & (reference < 2.7)
        above = (~flat) & (jnp.linalg.norm(graph.reference[:, :2], axis=1) < 0.5)
        sides = ((bond, self.a / 3**0.5, 30.0), (second, self.a, 6.0), (above, self.height, self.stiffness))
        energy = sum(0.25 * k * jnp.sum(jnp.where(chosen, r - length, 0.0) ** 2) for chosen, length, k in sides)
        # Something to hold atoms in their plane.
        return energy + 0.25 * 3.0 * jnp.sum(jnp.where(bond, v[:, 2], 0.0) ** 2)


@pytest.fixture(scope="module")
def springs():
    return Potential({}, Springs())


@pytest.mark.slow
def test_layers_come_to_rest_where_their_springs_say(springs):
    ((pair, energy),) = check.relaxed_layers(springs, [layers(1, 3.4, 1.0)])
    assert energy == pytest.approx(0.0, abs=1e-8)
    assert float(jnp.linalg.norm(pair.cell[0])) == pytest.approx(2.45, abs=1e-4)
    assert check.gap(pair) == pytest.approx(3.35, abs=1e-3)
    assert float(pair.cell[2, 2]) == 20.0


def test_a_potential_that_never_comes_to_rest_is_refused(springs):
    with pytest.raises(InputError, match="does not come to rest"):
        check.relaxed_layers(springs, [layers(1, 3.4, 1.0)], tolerance=0.0)


def test_modes_of_rigid_layers_are_known_by_what_moves():
    rng = np.random.default_rng(0)
    rigid = np.zeros((12, 3))
    rigid.reshape(4, 3, 3)[:, range(3), range(3)] = np.array([0.5, 0.5, -0.5, -0.5])[:, None]
    vectors = np.linalg.qr(np.concatenate([rigid, rng.normal(size=(12, 9))], axis=1))[0]
    order = rng.permutation(12)
    found = np.concatenate([[0.9, 0.9, 2.4], np.linspace(10.0, 47.0, 9)])
    expected = {"shear": 0.9, "breathing": 2.4, "optical": 47.0}
    assert check.named(found[order], vectors[:, order]) == pytest.approx(expected)


def labelled(potential, structures, path, noise=0.0):
    """Writes a data set that a potential has labelled; noise on the forces, eV/angstrom."""
    parts = []
    for atoms in structures:
        structure = Structure.from_ase(atoms)
        energy = float(potential.energy(structure, potential.graph(structure)))
        signs = np.where(np.indices((len(atoms), 3)).sum(axis=0) % 2, -1.0, 1.0)
        labels = {"energy": energy, "forces": check.evaluate(potential, atoms) + noise * signs}
        extra = {name: atoms.info[name] for name in ("distance", "sliding") if name in atoms.info}
        species, pbc = atoms.numbers.tolist(), atoms.pbc.tolist()
        parts.append(
            datasets.single(atoms.positions, atoms.cell.array, species, {"springs": labels}, pbc=pbc, extra=extra)
        )
    definition = {"code": "springs", "version": "1", "settings": {}}
    datasets.write(datasets.gather("springs", {"springs": definition}, parts), path)
    return path


def test_labels_made_by_the_model_itself_have_its_phonons(springs, tmp_path):
    pytest.importorskip("phonopy")
    path = labelled(springs, bilayer_phonons(0), tmp_path / "phonons.h5")
    rows = list(check.layered_rows(springs, path, check.MEASURED["graphene"]))
    assert "root mean square of model less springs (modes above 5 THz): 0.000 THz, largest 0.000" in rows
    # One spring a cell between layers of two atoms each: omega^2 = k/m.
    expected = float(units.thz_from_eigenvalue(Springs.stiffness / ase.Atom("C").mass))
    assert float(rows[-1].split("breathing ")[1].split()[0]) == pytest.approx(expected, rel=0.03)


@pytest.mark.slow
def test_rigid_layers_of_the_model_itself_have_its_energies_and_breathing_mode(springs, tmp_path):
    path = labelled(springs, bilayer_layers(0), tmp_path / "layers.h5")
    rows = list(check.rigid_rows(springs, path, check.MEASURED["graphene"]))
    assert "root mean square of model less springs: 0.00 meV/atom, largest 0.00" in rows
    found = {row.split("|")[1].strip(): row.split("|")[2:4] for row in rows if row.startswith("| ")}
    expected = float(units.thz_from_eigenvalue(Springs.stiffness / ase.Atom("C").mass))
    assert [float(x) for x in found["breathing at rest, THz"]] == pytest.approx([expected] * 2, abs=0.006)
    assert [float(x) for x in found["AB at rest, angstrom apart"]] == pytest.approx([Springs.height] * 2, abs=0.006)


@pytest.mark.slow
def test_strained_layers_have_the_elastic_constants_that_derivatives_of_the_energy_give(springs, tmp_path):
    path = labelled(springs, graphene_strains(0), tmp_path / "strains.h5")
    model, labels = (row.split(": ")[1].split()[0] for row in check.strained_rows(springs, path))
    assert model == labels
    rest = Structure.from_ase(layers(1, None))
    graph = springs.graph(rest)
    area = float(jnp.linalg.norm(jnp.cross(rest.cell[0], rest.cell[1]))) * units.NEWTON_PER_METRE

    def energy(e):
        strain = jnp.array([[e[0], e[2] / 2, 0.0], [e[2] / 2, e[1], 0.0], [0.0, 0.0, 0.0]])
        return springs.energy(rest.strained(strain), graph)

    c = jax.hessian(energy)(jnp.zeros(3)) / area
    expected = [float(x) for x in (c[0, 0], c[0, 1], c[2, 2])]
    assert [float(x) for x in model.split("/")] == pytest.approx(expected, abs=0.6)


def test_sliding_curvature_of_two_stars():
    def energy(s):
        angle = 2 * np.pi * s / 3
        return 0.3 + 0.02 * (2 * np.cos(angle) + np.cos(2 * angle)) - 0.003 * (1 + 2 * np.cos(3 * angle))

    bond, h = CARBON["pbe"] / 3**0.5, 1e-3
    expected = (energy(1 + h) - 2 * energy(1.0) + energy(1 - h)) / (h * bond) ** 2
    sliding = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
    assert check.sliding_curvature(sliding, energy(sliding)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_what_cannot_be_compared_is_said(capsys, tmp_path):
    assert check.main(["silicon-sw1985", "--phonons", str(tmp_path / "none.h5")]) == 0
    out = capsys.readouterr().out
    assert "a = 5.43" in out
    assert "C11/C12/C44 = 151/76/56 GPa" in out
    assert "there is no none.h5" in out
