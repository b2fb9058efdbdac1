"""Models of DeePTB read as Hamiltonians: its numbers, what cannot be read, and electrons."""

import copy
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxepi import hamiltonians
from jaxepi.errors import InputError
from jaxepi.hamiltonians import atomic, bloch, deeptb_laws, free_atoms
from jaxepi.hamiltonians.laws import LAWS
from jaxepi.structure import Structure

K = np.array([0.13, -0.21, 0.37])

BORON_NITRIDE = Atoms("BN", cell=1.8 * (1 - np.eye(3)), positions=[[0.03, -0.02, 0.01], [0.92, 0.88, 0.93]], pbc=True)

SMALL = {"B": ["2s", "2p"], "N": ["2s", "2p"]}


def numbers(name, count):
    """Parameters that look trained, from the characters of a name."""
    start = sum((i + 1) * ord(letter) for i, letter in enumerate(name))
    return [0.4 * math.sin(start + 2.3 * i) for i in range(count)]


def model(basis, law, onsite, count, overlap=False, **options):
    """A model of DeePTB as its JSON (version 2)."""
    symbols, params = list(basis), {"hopping": {}, "onsite": {}}
    for i, first in enumerate(symbols):
        for second in symbols[i:]:
            for a in basis[first]:
                for b in basis[second]:
                    if first == second and basis[first].index(a) > basis[first].index(b):
                        continue
                    for n in range(1 + min("spd".index(x.strip("0123456789*")) for x in (a, b))):
                        name = f"{first}-{second}-{a}-{b}-{n}"
                        params["hopping"][name] = numbers(name, count)
                        if overlap:
                            params.setdefault("overlap", {})[name] = [0.1 * x for x in numbers(name + "S", count)]
    width = {"uniform": 1, "uniform_noref": 1, "NRL": 4}.get(onsite["method"])
    for symbol in symbols if width else ():
        for shell in basis[symbol]:
            params["onsite"][f"{symbol}-{shell}-0"] = numbers(f"{symbol}{shell}", width)
    hopping = {"method": law, "rs": 3.0, "w": 0.2}
    return {
        "version": 2,
        "unit": "eV",
        "common_options": {"basis": basis, "overlap": overlap, "dtype": "float64", "device": "cpu"},
        "model_options": {"nnsk": {"hopping": hopping, "onsite": onsite, "soc": {}, "push": False, **options}},
        "model_params": params,
    }


def strained():
    """Silicon with bond-dependent on-site blocks and spin-orbit coupling."""
    data = model({"Si": ["3s", "3p", "d*"]}, "powerlaw", {"method": "strain", "rs": 3.0, "w": 0.2}, 2)
    data["model_params"]["onsite"] = {name: numbers(name + "E", 2) for name in data["model_params"]["hopping"]}
    data["model_options"]["nnsk"]["soc"] = {"method": "uniform"}
    data["model_params"]["soc"] = {"Si-3s-0": [0.0], "Si-3p-0": [-0.4], "Si-d*-0": [0.2]}
    return data


def written(tmp_path, data):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(data))
    return path


def mixed():
    """Boron nitride whose nitrogen has two s shells that mix."""
    basis = {"B": ["2s", "2p"], "N": ["s*", "2s", "2p"]}
    data = model(basis, "poly3pow", {"method": "uniform"}, 5, atomic_radius="cov")
    data["model_params"]["onsite"]["N-s*-2s-0"] = [0.7]
    return data


# dptb 2.2.1 with torch 2.5.1 in float64 on these models (`matrices` of scripts/peers/deeptb.py), at K.
NRL = [-1.06595219868, -0.84570119392, -0.53561540218, -0.38683947981, 0.05600042335, 0.48775308681, 0.59461320786]
SPIN_ORBIT = [-12.60871426736, -12.23514143751, -6.19403045413, -5.73481346965, -5.5787720778, -5.52714350641]
MIXED = [
    -18.05938951204,
    -9.34498448365,
    -7.66546858592,
    -7.64798848153,
    -7.32657563143,
    -3.93873680854,
    -3.93234610722,
]


def bands(path, atoms, spin_orbit=False):
    hamiltonian = hamiltonians.load(path, spin_orbit)
    structure = Structure.from_ase(atoms)
    h, s = bloch.hamiltonian_k(hamiltonian, structure, hamiltonian.graph(structure), jnp.asarray(K))
    if s is not None:
        inverse = jnp.linalg.inv(jnp.linalg.cholesky(s))
        h = inverse @ h @ inverse.conj().T
    return np.asarray(jnp.linalg.eigvalsh(h))


def test_bands_with_overlap_are_those_of_dptb(tmp_path):
    onsite = {"method": "NRL", "rs": 2.5, "w": 0.2, "lda": 1.2}
    path = written(tmp_path, model(SMALL, "NRL1", onsite, 4, overlap=True))
    np.testing.assert_allclose(bands(path, BORON_NITRIDE)[:7], NRL, atol=1e-8)


@pytest.mark.slow
def test_bands_with_mixed_shells_are_those_of_dptb(tmp_path):
    np.testing.assert_allclose(bands(written(tmp_path, mixed()), BORON_NITRIDE)[:7], MIXED, atol=1e-8)


@pytest.mark.slow
def test_bands_with_strain_and_spin_orbit_coupling_are_those_of_dptb(tmp_path):
    silicon = Atoms("Si2", cell=2.715 * (1 - np.eye(3)), scaled_positions=[[0, 0, 0], [0.25] * 3], pbc=True)
    found = bands(written(tmp_path, strained()), silicon, spin_orbit=True)
    np.testing.assert_allclose(found[:12], np.repeat(SPIN_ORBIT, 2), atol=1e-8)


def theirs(law, r, p, radius, rs=3.0, w=0.2):
    """The distance laws as DeePTB's documentation writes them."""
    x, power = r - radius, (radius / r) ** (1 + abs(p[-1]))
    fermi, late = 1 / (1 + np.exp((r - rs) / w)), 1 / (1 + np.exp((r - rs + 5 * w) / w))
    order = int(law[4]) if law.startswith("poly") else 0
    scale = [1, 1, 1] if order < 3 else [1, 1, 1 / 2, 1 / 6, 1 / 8]
    series = sum(s * c * x**i for i, (s, c) in enumerate(zip(scale, p[: order + 1], strict=False)))
    return {
        "powerlaw": lambda: p[0] * power * fermi,
        "varTang96": lambda: p[0] * r ** -abs(p[1]) * np.exp(-abs(p[2]) * r ** abs(p[3])) * fermi,
        "NRL": lambda: (p[0] + p[1] * r + p[2] * r**2) * np.exp(-(p[3] ** 2) * r) * late,
        "pow": lambda: series * power * late,
        "exp": lambda: series * np.exp(-r * abs(p[-1])) * late,
    }[law[:3] if law.startswith("NRL") else law[5:] if order else law]()


@pytest.mark.parametrize("law", deeptb_laws.LAWS)
def test_every_distance_law_is_theirs(law):
    held = deeptb_laws.LAWS[law]
    p = numbers(law, held.numbers)
    ends = deeptb_laws.ends({"rs": 3.0, "w": 0.2}, law, 3.0, "here")
    values = {k: jnp.asarray(v) for k, v in {**ends, **held.parameters(p, 1.4)}.items()}
    r = np.array([1.1, 1.9, 3.2])
    np.testing.assert_allclose(LAWS["enveloped"](jnp.asarray(r), **values), theirs(law, r, p, 1.4), rtol=1e-12)
    slope = jax.grad(lambda d: LAWS["enveloped"].function(d, **values))
    step = (theirs(law, 1.5 + 1e-5, p, 1.4) - theirs(law, 1.5 - 1e-5, p, 1.4)) / 2e-5
    np.testing.assert_allclose(slope(1.5), step, rtol=1e-7)


def test_angular_momenta_commute_as_they_must():
    for l in (0, 1, 2):
        x, y, z = atomic.angular_momentum(l)
        np.testing.assert_allclose(x @ y - y @ x, 1j * z, atol=1e-14)
        np.testing.assert_allclose(x @ x + y @ y + z @ z, l * (l + 1) * np.eye(2 * l + 1), atol=1e-14)


@pytest.mark.parametrize(
    ("symbol", "shells", "electrons"),
    [
        ("Si", ["3s", "3p", "d*"], 4),
        ("Ga", ["3d", "4s", "4p"], 13),
        ("Ga", ["4s", "4p"], 3),
        ("Cu", ["4s", "4p", "3d"], 11),
        ("Cu", ["4s"], None),
        ("Fe", ["4s", "3d"], 8),
        ("C", ["2p"], None),
        ("Si", ["s", "p"], None),
    ],
)
def test_electrons_follow_from_names_of_shells_that_tell_them(symbol, shells, electrons):
    assert free_atoms.valence(symbol, shells) == electrons


def test_a_model_that_does_not_say_its_electrons_has_bands_alone(tmp_path):
    data = model({"Si": ["s", "p"]}, "poly1pow", {"method": "uniform_noref"}, 3)
    basis = hamiltonians.load(written(tmp_path, data)).basis
    assert not basis.counts_electrons
    with pytest.raises(InputError, match=r"does not say how many valence electrons Si has"):
        basis.occupied((14, 14))
    assert hamiltonians.load(written(tmp_path, {**data, "electrons": {"Si": 4}})).basis.occupied((14, 14)) == 4
    assert "DeePTB" in hamiltonians.citation(written(tmp_path, data))


def at(data, key, value):
    *folders, last = key.split("/")
    for folder in folders:
        data = data[folder]
    if value is ...:
        del data[last]
    else:
        data[last] = value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 1, "of version 1, which does not hold its law and cutoffs; write version 2"),
        ("unit", "Hartree", "unit"),
        ("model_options/embedding", {"method": "se2"}, r"the part 'embedding' \(se2\) .* is not represented here"),
        ("model_options/nnsk", ..., "the part 'nnsk' of this model of DeePTB is missing"),
        ("model_options/nnsk/hopping/method", "custom", "hopping.method = 'custom': give one of powerlaw"),
        ("model_options/nnsk/onsite/method", "dftb", "onsite.method = 'dftb'"),
        ("model_options/nnsk/soc/method", "rashba", "soc.method = 'rashba'"),
        ("model_options/nnsk/hopping/rs", {"B": 2.0}, "hopping.rs has no length for B-N"),
        ("model_options/nnsk/hopping/rs", 0.5, "leave no bonds"),
        ("common_options/basis/N", ["2s", "4f"], "the shell '4f' is not represented here"),
        ("common_options/basis/N", ["2s", "2s"], "names a shell twice"),
        ("common_options/basis/N", ["s*", "2p"], r"hopping B-N-2s-s\*-0 is missing"),
        ("common_options/basis/Xx", ["s"], "Xx"),
        ("common_options/overlap", True, "overlap is True, which its model_params do not fit"),
        ("model_params/hopping/B-N-2s-2p-0", ..., "hopping B-N-2s-2p-0 is missing; export the model again"),
        ("model_params/hopping/B-N-2s-2p-0", [1.0], "has 1 numbers; the law poly3pow has 5"),
        ("model_params/hopping/N-B-2p-2s-0", [1.0] * 5, "stands there twice, with other numbers"),
        ("model_params/onsite/B-2s-0", ..., "onsite B-2s-0 is missing"),
        ("model_params/overlaponsite", {"N-2s-2p-0": [0.5]}, "the part 'overlaponsite' .* is not represented here"),
        ("electrons", {"Ga": 3}, "Ga"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, key, value, message):
    data = copy.deepcopy(model(SMALL, "poly3pow", {"method": "uniform"}, 5))
    at(data, key, value)
    with pytest.raises(InputError, match=message):
        hamiltonians.load(written(tmp_path, data))


def test_a_model_cut_short_is_refused(tmp_path):
    path = written(tmp_path, model(SMALL, "poly3pow", {"method": "uniform"}, 5))
    path.write_text(path.read_text()[:-200])
    with pytest.raises(InputError, match=r"model.json cannot be read"):
        hamiltonians.load(path)


def test_a_checkpoint_is_not_unpickled_and_the_converter_is_named():
    with pytest.raises(InputError, match=r"is not unpickled here: .* scripts/convert_deeptb.py nnsk.pth model.json"):
        hamiltonians.load("nnsk.pth")
