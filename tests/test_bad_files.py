"""Files that went wrong in any way: they load, or are refused in one line that names them; nothing else, and no hang.

Valid files are made small and once. Examples are drawn without chance (derandomized), a bounded number of each kind.
"""

import io
import json
import math
import warnings
import zipfile
from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxepi import checkpoint, datasets, hamiltonians, materials, potentials
from jaxepi.datasets import deeptb, extxyz
from jaxepi.datasets import wannier as wannier_files
from jaxepi.errors import InputError
from jaxepi.hamiltonians import parameter_files, wannier
from jaxepi.workflows import trajectories
from jaxepi.workflows.settings import GapSettings

pytestmark = pytest.mark.filterwarnings("ignore")

MANY = settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

STRANGE = (
    *(None, True, False, 0, -1, 2, 500, 14.7, 1e30, 1e400, -math.inf, math.nan, 10**400),
    *("", "x", "nan", "1", "\n", "é" * 5, [], [1], [[]], [None], ["s"], [1e300], {}, {"": 1}, {"x": {}}, [[[[1]]]]),
)
"""What may stand anywhere in a JSON file."""


def loads_or_refuses(load, path: Path, *others: str) -> None:
    """Whatever `load` does, it is one of the two."""
    refusal = ""
    try:
        load(path)
    except InputError as error:
        refusal = str(error)
    assert not refusal or any(name in refusal for name in (path.name, *others)), f"the file is not named: {refusal}"
    assert "\n" not in refusal, f"more than one line: {refusal}"


def places(tree, at=()):
    """Every place in a JSON tree."""
    found = [at] if at else []
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        found += places(value, (*at, key))
    return found


def mutated(tree, place, how, value):
    """A JSON tree with one entry dropped, changed, renamed, or put next to itself."""
    tree = json.loads(json.dumps(tree))
    node = tree
    for key in place[:-1]:
        node = node[key]
    key = place[-1]
    if how == "drop":
        del node[key]
    elif how == "double" and isinstance(node, list):
        node.append(node[key])
    elif how == "rename" and isinstance(node, dict):
        node[f"{key}x"] = node.pop(key)
    else:
        node[key] = value
    return tree


@st.composite
def trees(draw, tree):
    """A JSON tree after one or two accidents."""
    for _ in range(draw(st.integers(1, 2))):
        there = places(tree)
        if there:
            how = draw(st.sampled_from(("drop", "change", "change", "change", "double", "rename")))
            tree = mutated(tree, draw(st.sampled_from(there)), how, draw(st.sampled_from(STRANGE)))
    return tree


@st.composite
def texts(draw, text):
    """A file of text after an accident: cut, a word changed, a line dropped or doubled, bytes in between."""
    lines = text.split("\n")
    how = draw(st.sampled_from(("cut", "word", "word", "word", "drop", "double", "bytes")))
    i = draw(st.integers(0, min(len(lines) - 1, 40)))
    if how == "cut":
        return text[: draw(st.integers(0, len(text)))].encode()
    if how == "bytes":
        at = draw(st.integers(0, len(text)))
        return text[:at].encode() + draw(st.binary(min_size=1, max_size=8)) + text[at:].encode()
    if how == "word":
        words = lines[i].split(" ")
        strange = ("nan", "-1", "1e400", "1e30", "x", "", "9" * 30, "****", "0", "-9999999999", "1.5", '"', "=", "!")
        words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(strange))
        lines[i] = " ".join(words)
    elif how == "drop":
        del lines[i]
    else:
        lines.insert(i, lines[i])
    return "\n".join(lines).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bad")


@pytest.mark.parametrize(
    "name", ["si-vogl1983", "si-niquet2009", "si-boykin2004", "si-nrl1999", "graphene-trambly2010"]
)
def test_parameter_files_of_hamiltonians(folder, name):
    content = parameter_files.read(name)

    @MANY
    @given(trees(content))
    def check(tree):
        path = folder / "set.json"
        path.write_text(json.dumps(tree))
        loads_or_refuses(hamiltonians.load, path)

    check()


@pytest.fixture(scope="module")
def silicon():
    return materials.load("silicon")


@pytest.mark.parametrize("name", ["bad.xyz", "XDATCAR"])
def test_trajectories(folder, silicon, name):
    images = [bulk("Si", a=5.431) for _ in range(2)]
    images[1].positions[0] += 0.1
    path = folder / name
    ase.io.write(path, images, format="vasp-xdatcar" if name == "XDATCAR" else "extxyz")
    asked = GapSettings(crystal="silicon", trajectory=str(path), temperatures=(300.0,))

    @MANY
    @given(texts(path.read_text()))
    def check(content):
        path.write_bytes(content)
        loads_or_refuses(lambda _: trajectories.snapshots(asked, silicon), path)

    check()


def test_parameter_files_of_potentials(folder):
    content = json.loads(Path(parameter_files.__file__).parents[1].joinpath("potentials", "published.json").read_text())
    content["sets"] = {name: content["sets"][name] for name in ("silicon-mvff", "silicon-sw1985")}

    @MANY
    @given(trees(content))
    def check(tree):
        path = folder / "potentials.json"
        path.write_text(json.dumps(tree))
        for member in content["sets"]:
            loads_or_refuses(lambda p, member=member: potentials.load(p, member), path)

    check()


@MANY
@given(content=texts(json.dumps(parameter_files.read("si-vogl1983"), indent=1)))
def test_parameter_files_that_are_hardly_json(folder, content):
    path = folder / "broken.json"
    path.write_bytes(content)
    loads_or_refuses(hamiltonians.load, path)
    loads_or_refuses(potentials.load, path)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def archived(path: Path, held: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in held.items():
            file.writestr(name, content)


@pytest.mark.parametrize("kind", ["hamiltonian", "potential"])
def test_headers_of_models(folder, kind):
    models = hamiltonians if kind == "hamiltonian" else potentials
    held = members(Path(models.__file__).parent / "models" / "silicon-pbe.npz")
    header = json.loads(str(np.load(io.BytesIO(held["header.json.npy"]))))
    header["arrays"] = dict(list(header["arrays"].items())[:6])  # the whole tree has hundreds of places alike
    path = folder / f"{kind}.npz"

    @settings(MANY, max_examples=12)
    @given(trees(header))
    def check(tree):
        stream = io.BytesIO()
        np.save(stream, np.array(json.dumps(tree)))
        archived(path, held | {"header.json.npy": stream.getvalue()})
        loads_or_refuses(models.load, path)

    check()


@MANY
@given(data=st.data())
def test_archives(folder, data):
    """Bytes of the archive and of its members."""
    path = folder / "model.npz"
    params = {"a": {"w": np.arange(6.0).reshape(2, 3)}, "b": np.float32(1)}
    checkpoint.write_checkpoint(path, checkpoint.Checkpoint("mace", {}, params, {}))
    if data.draw(st.booleans()):
        held = members(path)
        name = data.draw(st.sampled_from(sorted(held)))
        content = bytearray(held[name])
        content[data.draw(st.integers(0, min(len(content) - 1, 130)))] = data.draw(st.integers(0, 255))
        archived(path, held | {name: bytes(content[: data.draw(st.integers(1, len(content)))])})
    else:
        content = bytearray(path.read_bytes())
        for _ in range(3):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content))
    loads_or_refuses(checkpoint.read_checkpoint, path)


WIN = """num_wann = 2
num_valence_bands = 1
mp_grid = 3 1 1
use_ws_distance = .true.
begin unit_cell_cart
bohr
 6.0 0.0 0.0
 0.0 20.0 0.0
 0.0 0.0 20.0
end unit_cell_cart
begin atoms_frac
Si 0.0 0.0 0.0
end atoms_frac
"""
CENTRES = "3\n centres\nX 0.0 0.0 0.0\nX 0.3 0.0 0.0\nSi 0.0 0.0 0.0\n"
HR = " chain\n 2\n 3\n 1 1 1\n" + "".join(
    f"{r:5d}    0    0{m:5d}{n:5d}{(0.5 if r else 1.0) * (m == n):12.6f}    0.000000\n"
    for r in (-1, 0, 1)
    for n in (1, 2)
    for m in (1, 2)
)
WSVEC = "## with use_ws_distance=.true.\n" + "".join(
    f"{r:5d}    0    0{m:5d}{n:5d}\n    1\n    0    0    0\n" for r in (-1, 0, 1) for n in (1, 2) for m in (1, 2)
)
WANNIER = {"x.win": WIN, "x_hr.dat": HR, "x_centres.xyz": CENTRES, "x_wsvec.dat": WSVEC}


@pytest.mark.parametrize("name", WANNIER)
def test_files_of_wannier90(folder, name):
    @MANY
    @given(texts(WANNIER[name]))
    def check(content):
        for other, text in WANNIER.items():
            (folder / other).write_text(text)
        (folder / name).write_bytes(content)
        loads_or_refuses(wannier.read, folder / "x_hr.dat", name)

    check()
    for other, text in WANNIER.items():
        (folder / other).write_text(text)
    assert wannier.read(folder / "x_hr.dat").basis.filling == 2
    assert wannier_files.read_win(folder / "x.win").wholes("mp_grid", 3) == [3, 1, 1]


def frame(strained=0.0):
    atoms = bulk("Si", a=5.43 + strained)
    atoms.info = {
        "theory": json.dumps({"pbe": {"code": "c", "version": "1", "settings": {}}}),
        "mesh": [2, 2, 2, 0, 0, 0],
    }
    atoms.info |= {"occupied": 4, "temperature": 300.0, "kpoints": np.zeros(3), "weights": np.ones(1)}
    atoms.info |= {"eigenvalues": np.linspace(-5, 5, 8), "strain": np.zeros(9)}
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)), stress=np.zeros(6))
    return atoms


def test_extended_xyz(folder):
    path = folder / "set.xyz"
    ase.io.write(path, [frame(), frame(0.1)], format="extxyz")
    text = path.read_text()

    @settings(MANY, max_examples=60)
    @given(texts(text))
    def check(content):
        path.write_bytes(content)
        loads_or_refuses(extxyz.read, path)

    check()


@pytest.fixture(scope="module")
def bands(folder):
    """A folder of DeePTB's layout with two frames."""
    parts = []
    for i in range(2):
        atoms = frame(0.1 * i)
        labels = {"pbe": {"eigenvalues": np.linspace(-5, 5, 8)[None] + i}}
        about = {"kpoints": np.zeros((1, 3)), "weights": np.ones(1), "occupied": 4}
        parts.append(datasets.single(atoms.positions, atoms.cell.array, [14, 14], labels, **about))
    levels = {"pbe": {"code": "c", "version": "1", "settings": {}}}
    made = datasets.gather("bands", levels, parts)
    datasets.write(made, folder / "bands.h5")
    return deeptb.write(made, folder, "pbe")[0]


@pytest.mark.parametrize("name", ["info.json", "jaxepi.json"])
def test_json_of_deeptb(bands, name):
    whole = json.loads((bands / name).read_text())

    @MANY
    @given(trees(whole))
    def check(tree):
        (bands / name).write_text(json.dumps(tree))
        loads_or_refuses(deeptb.read, bands)

    check()
    (bands / name).write_text(json.dumps(whole))
    assert len(deeptb.read(bands)) == 2


@MANY
@given(data=st.data())
def test_arrays_of_deeptb(bands, data):
    path = bands / data.draw(st.sampled_from(("kpoints.npy", "eigenvalues.npy", "xdat.traj")))
    whole = path.read_bytes()
    content = bytearray(whole)
    content[data.draw(st.integers(0, min(len(content) - 1, 300)))] = data.draw(st.integers(0, 255))
    try:
        path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
        loads_or_refuses(deeptb.read, bands)
    finally:
        path.write_bytes(whole)


@MANY
@given(data=st.data())
def test_hdf5_sets(bands, folder, data):
    """Attributes and arrays of other types, or missing."""
    path = folder / "bad.h5"
    path.write_bytes((folder / "bands.h5").read_bytes())
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visit(names.append)
        node = file[data.draw(st.sampled_from(["/", *sorted(names)]))]
        value = data.draw(st.sampled_from(("x", 3, -1.5, [1, 2], np.nan, b"\xff", np.zeros((2, 2)), 1e300)))
        if len(node.attrs) and data.draw(st.booleans()):
            node.attrs[data.draw(st.sampled_from(sorted(node.attrs)))] = value
        elif len(node.attrs) and data.draw(st.booleans()):
            del node.attrs[data.draw(st.sampled_from(sorted(node.attrs)))]
        elif node.name != "/":
            name, attributes = node.name, dict(node.attrs)
            del file[name]
            if data.draw(st.booleans()):
                file[name] = value
                file[name].attrs.update(attributes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loads_or_refuses(datasets.read, path)
