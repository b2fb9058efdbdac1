"""Structures to label: deterministic, strained as asked, displaced as the temperature asks."""

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import units
from jaxepi.errors import InputError
from jaxepi.labelling.structures import HALF, ZERO, annotate, carbon, checks, crystals, sets


def test_strains_cover_what_is_asked_for():
    strains = crystals.strains()
    isotropic = sorted(e[0, 0] for n, e in strains.items() if n.startswith("isotropic"))
    assert isotropic[0] == -0.03
    assert isotropic[-1] == 0.03
    for name in ("uniaxial-100", "shear-xy"):
        assert sorted(np.abs(e).max() for n, e in strains.items() if n.startswith(name)) == [0.01, 0.01, 0.02, 0.02]
    for e in strains.values():
        np.testing.assert_array_equal(e, e.T)


def test_primitive_cells_hold_the_points_on_gamma_x():
    structures = crystals.silicon_primitive(0)
    for u in (0.75 / 2, 0.875 / 2):
        steps = [np.array([u, u, 0.0]) * a.info["mesh"] - a.info["shift"] for a in structures]
        assert any(np.abs(s - np.round(s)).max() < 1e-9 for s in steps)
    strained = [a for a in structures if "strain" in a.info]
    assert len({tuple(a.info["strain"].ravel()) for a in strained}) >= 24
    assert {tuple(a.info["shift"]) for a in strained} == {ZERO, HALF}


def holds(atoms: ase.Atoms, point: tuple[float, float, float]) -> bool:
    """Whether the k mesh of a structure holds a point of its own Brillouin zone (fractional), or the opposite one."""
    steps = [sign * np.array(point) * atoms.info["mesh"] - atoms.info["shift"] for sign in (1, -1)]
    return any(np.abs(s - np.round(s)).max() < 1e-9 for s in steps)


def test_strained_cells_reach_the_valleys():
    structures = crystals.silicon_valleys(0)
    count = len(structures) // 2
    for half, dense in zip(structures[:count], structures[count:], strict=True):
        assert holds(half, (0.375, 0.375, 0.0)), "0.75 X"
        assert holds(dense, (0.4375, 0.4375, 0.0)), "0.875 X"
        assert half == dense
        assert half.info["kind"] == dense.info["kind"]
    rest, *bent = structures[:count]
    assert (rest.info["kind"], len(bent)) == ("unstrained", 10)
    strains = [a.info["strain"] for a in bent]
    for atoms, strain in zip(bent, strains, strict=True):
        np.testing.assert_allclose(atoms.cell.array, rest.cell.array @ (np.eye(3) + strain), atol=1e-12)
    np.testing.assert_allclose(strains[::2], -np.array(strains[1::2]))
    assert [np.abs(e).max() for e in strains[::2]] == pytest.approx([0.015, 0.01, 0.01, 0.01 / 3, 0.01])
    valley = np.array([0.375, 0.375, 0.0]) @ np.linalg.inv(rest.cell.array).T
    assert np.abs(valley[:2]).max() < 1e-12, "along z"


@pytest.mark.slow
def test_pairs_are_opposite_around_the_crystal_at_rest():
    rest, *moved = crystals.silicon_pairs(1)
    assert (len(moved), rest.info["kind"]) == (40, "unstrained")
    for plus, minus in zip(moved[::2], moved[1::2], strict=True):
        np.testing.assert_allclose(plus.positions - rest.positions, rest.positions - minus.positions, atol=1e-12)
        np.testing.assert_array_equal(plus.cell.array, rest.cell.array)
        assert (plus.info["sign"], minus.info["sign"]) == (1.0, -1.0)
        assert [plus.info[k] for k in ("pair", "temperature")] == [minus.info[k] for k in ("pair", "temperature")]
    assert [a.info["pair"] for a in moved[::2]] == [*range(20)]
    sizes = {t: [] for t in crystals.PAIRED}
    for atoms in moved[::2]:
        sizes[int(atoms.info["temperature"])].append(np.mean((atoms.positions - rest.positions) ** 2))
    zero, room = (np.sqrt(np.mean(sizes[t])) for t in (0, 300))
    assert 0.035 < zero < 0.06 < room < 0.08
    again = crystals.silicon_pairs(1)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(again, [rest, *moved], strict=True))
    assert not np.array_equal(crystals.silicon_pairs(2)[1].positions, moved[0].positions)


def test_the_mesh_of_the_pairs_holds_both_valleys_along_all_axes():
    points = unfolded(crystals.silicon_pairs(0)[0])
    assert len(points) == 64, "the primitive 4x4x4 mesh"
    for size in (0.25, 0.5):
        assert {(size, size, 0.0), (size, 0.0, size), (0.0, size, size)} <= points


@pytest.mark.slow
def test_thermal_displacements_follow_temperature_and_seed():
    crystal = crystals.Crystal("silicon", cubic=True)
    sites = bulk("Si", a=5.45, cubic=True).positions

    def spread(temperature, statistics):
        moves = [crystal.thermal(5.45, temperature, statistics, seed).positions - sites for seed in range(40)]
        return np.sqrt(np.mean(np.square(moves)))

    assert spread(50.0, "quantum") > 1.5 * spread(50.0, "classical"), "zero-point motion"
    assert spread(600.0, "quantum") == pytest.approx(spread(600.0, "classical"), rel=0.15)
    one, two = (crystal.thermal(5.45, 300.0, "quantum", 3) for _ in range(2))
    np.testing.assert_array_equal(one.positions, two.positions)


def test_files_are_deterministic(tmp_path):
    for name in ("a.xyz", "b.xyz"):
        sets.write(sets.make("silicon-cubic", seed=1, first=3), tmp_path / name)
    assert (tmp_path / "a.xyz").read_bytes() == (tmp_path / "b.xyz").read_bytes()
    assert len(sets.read(tmp_path / "a.xyz")) == 3


def test_another_mesh_leaves_structures_and_shifts_as_they_are():
    own, denser = (sets.make("gaas-16", first=2, mesh=mesh) for mesh in (None, (5, 4, 3)))
    for a, b in zip(own, denser, strict=True):
        assert a == b
        assert (list(a.info["mesh"]), list(b.info["mesh"])) == ([2, 2, 2], [5, 4, 3])
        assert tuple(a.info["shift"]) == tuple(b.info["shift"]) == HALF
        assert a.info["kind"] == b.info["kind"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gaas-16", {"first": 21}, "first 21: gaas-16 has 20"),
        ("gaas-16", {"first": 0}, "first 0"),
        ("gaas-16", {"mesh": (4, 0, 4)}, "mesh 4 0 4"),
        ("gaas-17", {}, "did you mean 'gaas-16'"),
    ],
)
def test_what_a_set_cannot_give_is_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        sets.make(name, **options)


def test_finite_differences_surround_their_base():
    base = crystals.Crystal("silicon", cubic=True).thermal(5.45, 300.0, "quantum", 0)
    base.info = {"kind": "thermal"}
    images = checks.differences(base, 7, seed=0)
    assert [a.info["kind"] for a in images].count("base") == 1
    moves = [a.positions - base.positions for a in images if a.info["kind"] == "difference-forces"]
    np.testing.assert_allclose(moves[0], -moves[1], atol=1e-12)
    assert np.linalg.norm(moves[0], axis=1).max() == pytest.approx(0.01)
    volumes = sorted(a.get_volume() / base.get_volume() for a in images if a.info["kind"] == "difference-isotropic")
    np.testing.assert_allclose(volumes, [0.998**3, 1.002**3])


def test_layers_vibrate_as_graphene_does():
    constants = carbon.force_constants(3)
    d = np.asarray(constants.dynamical_matrices)
    modes = np.asarray(units.thz_from_eigenvalue(np.linalg.eigvalsh(d)))
    np.testing.assert_allclose(np.linalg.eigvalsh(d[0])[:3], 0.0, atol=1e-9)  # translations
    np.testing.assert_allclose(modes[0, 3:], [25.9, 47.6, 47.6], atol=0.1)  # measured: out of plane 26, E2g 47.4
    assert modes[1:].min() > 2.0
    at_k = modes[np.abs(constants.commensurate(half=True) - [1 / 3, 1 / 3, 0]).sum(axis=1).argmin()]
    assert at_k[1] == pytest.approx(at_k[0], abs=1e-6), "out of plane, two modes have one frequency at K"


def test_long_cells_of_layers_vibrate_as_square_ones_do():
    square, long = (carbon.force_constants(repeats) for repeats in (4, (1, 4)))
    points = [np.asarray(c.commensurate(half=False)) for c in (square, long)]
    eigenvalues = [np.linalg.eigvalsh(np.asarray(c.dynamical_matrices)) for c in (square, long)]
    assert len(points[1]) == 4
    for q, found in zip(points[1], eigenvalues[1], strict=True):
        same = np.abs(points[0] - q).max(axis=1).argmin()
        np.testing.assert_allclose(points[0][same], q, atol=1e-12)
        np.testing.assert_allclose(found, eigenvalues[0][same], atol=1e-9 * eigenvalues[0].max())


def test_twisted_bilayers_are_for_the_test_alone():
    found = carbon.twisted(1)
    assert [len(a) for a in found] == [28] * 4 + [76] * 2
    assert {a.info["split"] for a in found} == {"test"}
    for atoms, rest in ((a, found[0] if len(a) == 28 else found[4]) for a in found):
        moved = atoms.positions - rest.positions
        assert moved.std() == pytest.approx(atoms.info["amplitude"], rel=0.15)
        lengths = atoms.get_distances(0, range(1, len(atoms)), mic=True)
        assert abs(np.sort(lengths)[:3].mean() - carbon.CARBON["pbe"] / 3**0.5) < 0.1


def test_bilayers_move_by_the_temperature_and_rigid_layers_stay():
    found = carbon.thermal(1, 14, 2, 4)
    assert [len(a) for a in found] == [16] * 6 + [8] + [16] * 6 + [8]
    for atoms in found:
        heights = atoms.positions[:, 2]
        upper = heights > heights.mean()
        if "distance" in atoms.info:
            assert heights[upper].mean() - heights[~upper].mean() == pytest.approx(atoms.info["distance"], abs=1e-9)

    def spread(temperature):
        still = carbon.layers(2, 3.4)
        moves = [carbon.vibrating(still, 2, temperature, seed).positions - still.positions for seed in range(20)]
        return np.std(moves, axis=(0, 1))

    cold, hot = spread(10.0), spread(600.0)
    assert hot[2] > 1.3 * cold[2] > 1.3 * cold[0], "soft modes out of the plane first"


def unfolded(atoms: ase.Atoms) -> set[tuple]:
    """k points of a structure's mesh and their opposites, unfolded into those of the primitive fcc cell."""
    primitive = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    mesh = np.array(atoms.info["mesh"])
    steps = (np.indices(mesh).reshape(3, -1).T + atoms.info["shift"]) / mesh
    shifts = np.indices((9, 9, 9)).reshape(3, -1).T - 4
    edge = (atoms.get_volume() * 8 / len(atoms)) ** (1 / 3)
    k = (np.concatenate([steps, -steps])[:, None] + shifts).reshape(-1, 3) @ np.linalg.inv(atoms.cell.array / edge).T
    return {tuple(row) for row in (np.round(k @ primitive.T, 6) % 1.0).round(4) % 1.0}


@pytest.mark.slow
def test_cells_that_train_one_model_share_k_points():
    sizes = checks.silicon_sizes(0)
    silicon = [crystals.bent(crystals.Crystal("silicon", True), 5.476, "pbe", 4, HALF, 1, 0)[0], sizes[1]]
    assert unfolded(silicon[0]) == unfolded(silicon[1])
    _, sixteen, _ = checks.gaas_sizes(0)
    eight = crystals.gaas_8(0)[0]
    two = annotate(crystals.Crystal("gaas", False).ideal(5.68), "unstrained", "r2scan", 4, HALF)
    assert unfolded(eight) == unfolded(sixteen) == unfolded(two)
    assert len(unfolded(two)) == 64


def test_force_sets_hold_the_strains_that_are_asked_for():
    structures = crystals.silicon_8(1)
    assert len(structures) == 40
    strains = {a.info["kind"].removeprefix("thermal-quantum-") for a in structures}
    assert strains == {"unstrained", "isotropic", "uniaxial-100", "shear-xy", "uniaxial-111", "biaxial", "uniaxial-110"}
    assert max(abs(a.info["strain"][0, 0]) for a in structures if "isotropic" in a.info["kind"]) == 0.03
    assert sum("temperature" in a.info for a in structures) == 30
    still = [a for a in structures if "temperature" not in a.info]
    assert all(len({tuple(x) for x in np.round(a.get_scaled_positions() * 4, 6) % 4}) == 8 for a in still)


def test_strained_layers_are_strained_as_they_say():
    rest = carbon.layers(1, None).cell.array
    for atoms in (*carbon.strained_layers(0, 6, 8), *checks.graphene_strains(0)):
        np.testing.assert_allclose(atoms.cell.array, rest @ (np.eye(3) + atoms.info["strain"]), atol=1e-12)
    assert [len(a) for a in carbon.strained_layers(0, 6, 8)] == [2, 2, 4, 2, 2, 4]
