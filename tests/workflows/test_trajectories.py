"""Trajectories of any code in place of drawn snapshots: formats, references, temperatures, and what does not fit."""

import re
from pathlib import Path

import ase
import ase.io
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, make_supercell
from ase.calculators.singlepoint import SinglePointCalculator

from jaxepi import cli, materials, results
from jaxepi.datasets.trajectory_files import parse_slice
from jaxepi.errors import InputError
from jaxepi.sampling import Trajectory
from jaxepi.workflows import trajectories
from jaxepi.workflows.settings import AbsorptionSettings, GapSettings

SKEW = np.array([[2, 1, 0], [0, 2, 1], [-1, 0, 2]])


@pytest.fixture(scope="module")
def silicon():
    return materials.load("silicon")


def frames(count=5, strain=1.0, seed=0):
    """Frames of silicon in a skewed supercell, wrapped, and their displacements."""
    rest = make_supercell(bulk("Si", a=5.431 * strain), SKEW)
    u = np.random.default_rng(seed).normal(0, 0.07, (count, len(rest), 3))
    u -= u.mean(axis=1, keepdims=True)
    images = []
    for away in u:
        images.append(rest.copy())
        images[-1].positions += away
        images[-1].wrap()
    return images, u


def found(silicon, path, **settings):
    return trajectories.snapshots(GapSettings(crystal="silicon", trajectory=str(path), **settings), silicon)


def write_vasprun(path, images):
    """The parts of a vasprun.xml that hold species and structures."""

    def rows(values):
        return "".join(f"<v>{a:.10f} {b:.10f} {c:.10f}</v>" for a, b, c in values)

    def structure(atoms, name=""):
        cell, x = rows(atoms.cell.array), rows(atoms.get_scaled_positions())
        return (
            f'<structure{name}><crystal><varray name="basis">{cell}</varray></crystal>'
            f'<varray name="positions">{x}</varray></structure>'
        )

    names = "".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in images[0].symbols)
    steps = "".join(
        f'<calculation>{structure(a)}<varray name="forces">{rows(0 * a.positions)}</varray>'
        '<energy><i name="e_fr_energy">-1.0</i><i name="e_wo_entrp">-1.0</i><i name="e_0_energy">-1.0</i></energy>'
        '<scstep><energy><i name="e_fr_energy">-1.0</i><i name="e_wo_entrp">-1.0</i><i name="e_0_energy">-1.0</i>'
        "</energy></scstep></calculation>"
        for a in images
    )
    first = structure(images[0], ' name="initialpos"')
    path.write_text(
        '<?xml version="1.0"?><modeling><kpoints><varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights">'
        '<v>1.0</v></varray></kpoints><parameters><i type="int" name="IBRION">0</i><i name="SMASS">0.0</i>'
        '<i name="TEBEG">400.0</i><i name="TEEND">400.0</i></parameters>'
        f'<atominfo><array name="atoms"><set>{names}</set></array></atominfo>{first}{steps}'
        "</modeling>",
        encoding="utf-8",
    )


@pytest.mark.parametrize("name", ["run.xyz", "run.traj", "XDATCAR", "vasprun.xml"])
def test_formats_give_the_same_snapshots(name, silicon, tmp_path):
    images, u = frames()
    path = tmp_path / name
    if name == "vasprun.xml":
        write_vasprun(path, images)
    else:
        ase.io.write(path, images, format={"XDATCAR": "vasp-xdatcar", "run.xyz": "extxyz"}.get(name))
    crystal, (one,) = found(silicon, path, temperatures=(300.0,))
    assert (len(one), float(one.temperature), one.statistics, one.groups) == (5, 300.0, None, (0,) * 5)
    assert len(crystal.primitive) == 2
    np.testing.assert_allclose(
        np.sort(np.linalg.norm(one.displacements, axis=-1)), np.sort(np.linalg.norm(u, axis=-1)), atol=1e-6
    )
    _, (few,) = found(silicon, path, temperatures=(300.0,), frames="1::2", independent=True)
    np.testing.assert_allclose(few.displacements, one.displacements[1::2], atol=1e-12)
    assert few.groups == ()
    if name == "vasprun.xml":  # it says what its thermostat was set to
        assert float(found(silicon, path)[1][0].temperature) == 400.0


@pytest.mark.parametrize("shape", ["tuple", "trajectory"])
def test_what_sample_and_md_wrote_is_read_with_all_it_says(shape, silicon, tmp_path):
    supercell = silicon.structure.supercell(1)
    noise = 0.05 * np.random.default_rng(0).normal(size=(2, 3, 2, 8, 3))
    noise -= noise.mean(axis=-2, keepdims=True)
    x = jnp.broadcast_to(supercell.positions, noise.shape) + noise
    zero = jnp.zeros((2, 3, 2))
    run = Trajectory(supercell, jnp.arange(3.0), x, jnp.array([100.0, 300.0]), zero, zero, zero)
    path = tmp_path / "run.h5"
    contents = {"trajectory": run} if shape == "trajectory" else {"snapshots": tuple(run.snapshots())}
    results.write(path, contents, results.provenance({}, {}))
    _, (cold, warm) = found(silicon, path)
    assert (float(cold.temperature), float(warm.temperature)) == (100.0, 300.0)
    assert {cold.statistics, warm.statistics} == {"classical"}
    assert sorted(warm.groups) == [0, 0, 0, 1, 1, 1]
    _, (only,) = found(silicon, path, temperatures=(300.0,))
    np.testing.assert_allclose(only.positions, warm.positions)
    _, sets = found(silicon, path, frames="-1:")
    assert [len(one) for one in sets] == ([2, 2] if shape == "trajectory" else [1, 1])
    with pytest.raises(InputError, match=r"run.h5: no frames at 200 K: it holds frames at 100, 300 K"):
        found(silicon, path, temperatures=(200.0,))
    with pytest.raises(InputError, match=r"run.h5: of .* frames a temperature none are chosen"):
        found(silicon, path, frames="50:")


def test_the_crystal_is_taken_in_the_cell_of_the_trajectory(silicon, tmp_path):
    images, u = frames(strain=1.01)
    ase.io.write(tmp_path / "hot.traj", images)
    with pytest.warns(UserWarning, match=r"its cell is that of silicon, repeated and strained by up to 1%"):
        crystal, (one,) = found(silicon, tmp_path / "hot.traj", temperatures=(900.0,))
    np.testing.assert_allclose(crystal.primitive.cell, 1.01 * silicon.primitive.cell, atol=1e-9)
    np.testing.assert_allclose(np.abs(one.displacements).max(), np.abs(u).max(), atol=0.2)
    assert crystal.structure is one.structure


def test_a_turned_crystal_is_found_in_the_mean_of_its_frames(silicon, tmp_path):
    images, _ = frames(40)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    for image in images:
        image.set_cell(image.cell.array @ turn, scale_atoms=True)
    ase.io.write(tmp_path / "turned.traj", images)
    with pytest.warns(UserWarning, match="the reference is the mean of its 40 frames"):
        crystal, (one,) = found(silicon, tmp_path / "turned.traj", temperatures=(300.0,))
    assert len(crystal.primitive) == 2
    bond = crystal.primitive.to_ase().get_distance(0, 1, mic=True)
    np.testing.assert_allclose(bond, 5.431 * 3**0.5 / 4, atol=0.01)
    np.testing.assert_allclose(np.sqrt((np.asarray(one.displacements) ** 2).mean()), 0.07, rtol=0.05)


def test_a_reference_may_be_given_and_cells_may_be_left_to_it(silicon, tmp_path):
    images, u = frames(3)
    rest = make_supercell(bulk("Si", a=5.431), SKEW)
    ase.io.write(tmp_path / "rest.vasp", rest)
    plain = [ase.Atoms(image.numbers, image.positions) for image in images]
    ase.io.write(tmp_path / "plain.xyz", plain, format="xyz")
    crystal, (one,) = found(
        silicon, tmp_path / "plain.xyz", temperatures=(300.0,), reference=str(tmp_path / "rest.vasp")
    )
    np.testing.assert_allclose(one.displacements, u, atol=1e-6)
    assert len(crystal.primitive) == 2
    with pytest.raises(InputError, match=r"plain.xyz: frame 0 has no cell; give the crystal at rest"):
        found(silicon, tmp_path / "plain.xyz", temperatures=(300.0,))


def test_a_temperature_is_said_moves_or_is_asked_for(silicon, tmp_path):
    images, _ = frames(3)
    path = tmp_path / "run.traj"
    ase.io.write(path, images)
    with pytest.raises(InputError, match=r"run.traj: it does not say its temperature; give it \(--temperatures K\)"):
        found(silicon, path)
    with pytest.raises(InputError, match="2 temperatures for one trajectory"):
        found(silicon, path, temperatures=(100.0, 300.0))
    for image, t in zip(images, (280, 300, 320), strict=True):
        image.info["temperature"] = float(t)
    ase.io.write(path, images)
    with pytest.raises(InputError, match="does not say its temperature"):
        found(silicon, path)  # of the moment
    for image in images:
        image.info["temperature"] = 300
        image.calc = SinglePointCalculator(image, energy=0.0)
    ase.io.write(path, images)
    assert float(found(silicon, path)[1][0].temperature) == 300
    for image in images:
        image.info = {}
        image.set_momenta(np.random.default_rng(0).normal(size=image.positions.shape))
    ase.io.write(path, images)
    kelvin = np.mean([i.get_kinetic_energy() for i in images]) / (1.5 * (len(images[0]) - 1) * ase.units.kB)
    with pytest.warns(UserWarning, match="the mean kinetic energy of the frames"):
        np.testing.assert_allclose(float(found(silicon, path)[1][0].temperature), kelvin, atol=0.06)


def bad(kind, folder):
    """A file that cannot be used."""
    images, _ = frames(3)
    path = folder / ("XDATCAR" if "xdatcar" in kind else "run.xyz")
    if kind == "other crystal":
        images = [bulk("Ge", a=5.65).repeat(2)] * 2
    if kind == "nan":
        images[1].positions[0] = np.nan
    elif kind == "nan at once":
        images[0].positions[0] = np.nan
    elif kind == "no element":
        images[1].numbers[0] = 0
    ase.io.write(path, images, format="vasp-xdatcar" if "xdatcar" in kind else "extxyz")
    text = path.read_text()
    if kind == "empty":
        path.write_text("")
    elif kind.startswith("truncated"):
        path.write_text(text[: text.rindex("\n", 0, len(text) - 60)])
    elif kind == "text":
        path.write_text("this is\nno trajectory\n")
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("other crystal", "run.xyz: frame 0 is Ge16, silicon is Si2; give the crystal of the trajectory"),
        ("nan", "run.xyz: frame 1: positions or cell hold NaN"),
        ("nan at once", "run.xyz: frame 0: positions or cell hold NaN"),
        ("no element", "run.xyz: frame 1: there is no element 0"),
        ("empty", "run.xyz (cannot be read as a trajectory|holds no frames)"),
        ("text", "run.xyz cannot be read as a trajectory"),
        ("truncated", r"run.xyz, frame 2: it is cut off or damaged .* \(--frames :2\)"),
        ("truncated xdatcar", r"XDATCAR, frame 2: it is cut off or damaged .* \(--frames :2\)"),
    ],
)
def test_files_that_cannot_be_used_are_named(kind, message, silicon, tmp_path):
    path = bad(kind, tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        found(silicon, path, temperatures=(300.0,))
    assert "\n" not in str(caught.value)
    if kind.startswith("truncated"):
        assert len(found(silicon, path, temperatures=(300.0,), frames=":2")[1][0]) == 2


def test_a_frame_is_named_by_its_number_in_the_file(silicon, tmp_path):
    images, _ = frames(6)
    images[3].positions[4] += [1.4, 1.4, 1.4]
    ase.io.write(tmp_path / "run.traj", images)
    with pytest.raises(
        InputError, match=r"run.traj: frame 3: atom 4 is 2.* angstrom from its site and nearer to another"
    ):
        found(silicon, tmp_path / "run.traj", temperatures=(300.0,), frames="1::2")


def test_slices_are_those_of_ase():
    for text in ("100::10", ":50", "-50:", ":", "::3", "7", "-1", "2:9", "1:-1:2"):
        assert list(range(200))[parse_slice(text)] == list(
            np.atleast_1d(np.arange(200)[ase.io.formats.string2index(text)])
        )
    for text in ("", "a", "1:2:3:4", "1:2:0", "1:2:-1", "1.5"):
        with pytest.raises(InputError, match=f"frames {re.escape(repr(text))}"):
            parse_slice(text)


def test_options_that_draw_snapshots_are_refused_beside_a_trajectory(capsys):
    with pytest.raises(InputError, match=r"supercell decides how snapshots are drawn, and trajectory x.xyz holds them"):
        AbsorptionSettings(crystal="silicon", trajectory="x.xyz", supercell=3)
    with pytest.raises(InputError, match="frames is of a trajectory: give one"):
        GapSettings(crystal="silicon", frames="::2")
    assert cli.main(["gap", "silicon", "--trajectory", "none.xyz", "--temperatures", "300"]) == 2
    assert capsys.readouterr().err.startswith("jaxepi: none.xyz: No such file or directory")


@pytest.mark.slow
def test_a_trajectory_gives_the_spectrum_of_its_snapshots(tmp_path, monkeypatch, capsys):
    """Without a potential, bit for bit what the snapshots that were written give."""
    monkeypatch.chdir(tmp_path)
    small = ["--equilibrium-points", "2", "--kmesh", "1", "--energies", "0.5", "5", "46", "--no-progress"]
    drawn = ["--supercell", "1", "--snapshots", "2"]
    assert cli.main(["absorb", "silicon", *drawn, *small, "--output", "drawn.h5"]) == 0
    assert cli.main(["absorb", "silicon", *small, "--trajectory", "drawn.h5", "--output", "again.h5"]) == 0
    one, other = (results.read(name).contents for name in ("drawn.h5", "again.h5"))
    np.testing.assert_allclose(one["spectra"][0].eps2, other["spectra"][0].eps2, rtol=1e-9, atol=1e-12)
    assert other["snapshots"][0].statistics == "quantum"
    assert "frames of drawn.h5" in capsys.readouterr().out
    assert "potential" not in str(results.read_provenance("again.h5")["models"])
    assert Path("again-tauc.png").exists()
    results.write("drawn.h5", {"snapshots": (one["snapshots"][0].take([0]),)}, results.provenance({}, {}))
    assert cli.main(["absorb", "silicon", *small, "--trajectory", "drawn.h5", "--output", "again.h5"]) == 2
    assert "the trajectory has changed" in capsys.readouterr().err
