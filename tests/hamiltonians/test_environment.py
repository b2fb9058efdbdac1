"""Surroundings that scale integrals: the descriptor against loops, its invariance, its derivative, and what is refused."""

import copy
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxepi import hamiltonians
from jaxepi.errors import InputError
from jaxepi.graph import build_graph
from jaxepi.hamiltonians import environment, parameter_files
from jaxepi.structure import Structure

WIDTH, AXES = 3, 2


def network(rng, widths):
    """A residual block and a last layer, of random numbers."""
    a, b, c, d = widths
    block = {"w0": (b, a), "b0": (b,), "w1": (c, b), "b1": (c,), "skip": (c, a)}
    made = {name: (0.5 * rng.standard_normal(shape)).tolist() for name, shape in block.items()}
    last = {"w": (0.5 * rng.standard_normal((d, c))).tolist(), "b": (0.5 * rng.standard_normal(d)).tolist()}
    return {"blocks": [made], "last": [last]}


def table(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "inner": 2.0,
        "outer": 3.4,
        "axes": AXES,
        "activation": "tanh",
        "shells": ["s", "p"],
        "bonds": ["s-s:sigma", "s-p:sigma", "p-p:sigma", "p-p:pi"],
        "radial": network(rng, (5, 4, 4, WIDTH)),
        "energies": network(rng, (WIDTH * AXES, 4, 5, 2)),
        "integrals": network(rng, (WIDTH * AXES + 1, 4, 5, 4)),
    }


def run(net, x):
    """The networks once more, one vector at a time."""
    for block in net["blocks"]:
        w0, b0, w1, b1, skip = (np.array(block[name]) for name in ("w0", "b0", "w1", "b1", "skip"))
        x = np.tanh(np.tanh(w1 @ np.tanh(w0 @ x + b0) + b1 + skip @ x))
    return np.array(net["last"][0]["w"]) @ x + np.array(net["last"][0]["b"])


def descriptor(data, atoms, i, kinds):
    """D D^T of one atom, by a loop over its neighbours in near cells."""
    total, count = np.zeros((WIDTH, 4)), 0
    for j, cell in np.ndindex(len(atoms), 125):
        v = (
            atoms.positions[j]
            + (np.array(np.unravel_index(cell, (5, 5, 5))) - 2) @ atoms.cell.array
            - atoms.positions[i]
        )
        r = np.linalg.norm(v)
        if not 1e-6 < r < data["outer"]:
            continue
        x = np.clip((r - data["inner"]) / (data["outer"] - data["inner"]), 0, 1)
        s = (1 + x**3 * (-10 + x * (15 - 6 * x))) / r
        g = run(data["radial"], np.array([s, *np.eye(2)[kinds[i]], *np.eye(2)[kinds[j]]]))
        total += np.outer(g, [s, *(s * v / r)])
        count += 1
    d = total / count
    flat = (d @ d.T)[:, :AXES].ravel()
    flat = flat - flat.mean()
    return flat / np.linalg.norm(flat)


@pytest.fixture(scope="module")
def crystal():
    atoms = Atoms("BN", cell=1.8 * (1 - np.eye(3)), positions=[[0.03, -0.02, 0.01], [0.92, 0.88, 0.93]], pbc=True)
    atoms.rattle(0.05, seed=3)
    return atoms


def deltas(atoms, data):
    fixed, params = environment.build(data, 2, "here")
    structure = Structure.from_ase(atoms)
    graph = build_graph(structure, 4.0, 0.4)
    kinds = jnp.array([0, 1])

    def at(positions):
        return fixed.deltas(params, kinds, 2, graph, graph.vectors(structure.with_positions(positions)))

    return jax.jit(at), structure.positions, graph


def test_the_descriptor_is_that_of_the_loops(crystal):
    data = table()
    at, positions, graph = deltas(crystal, data)
    energies, integrals = at(positions)
    atoms = [descriptor(data, crystal, i, (0, 1)) for i in range(2)]
    for i in range(2):
        np.testing.assert_allclose([energies[s][i] for s in ("s", "p")], run(data["energies"], atoms[i]), rtol=1e-9)
    edge = 3
    i, j = int(graph.senders[edge]), int(graph.receivers[edge])
    length = np.linalg.norm(np.asarray(graph.reference)[edge])
    expected = run(data["integrals"], np.array([*(atoms[i] + atoms[j]), 1 / length]))
    np.testing.assert_allclose([integrals[name][edge] for name in data["bonds"]], expected, rtol=1e-9)
    np.testing.assert_array_equal(integrals["p-s:sigma"], integrals["s-p:sigma"])


@pytest.mark.slow
def test_rotations_change_nothing_and_derivatives_are_right(crystal):
    data = table()
    at, positions, _ = deltas(crystal, data)
    turned = crystal.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    other, places, _ = deltas(turned, data)
    np.testing.assert_allclose(other(places)[0]["p"], at(positions)[0]["p"], rtol=1e-10)
    step = jnp.zeros((2, 3)).at[1, 0].set(1e-5)
    slope = jax.jvp(lambda x: at(x)[0]["s"], (positions,), (step * 1e5,))[1]
    np.testing.assert_allclose(slope, (at(positions + step)[0]["s"] - at(positions - step)[0]["s"]) / 2e-5, rtol=1e-6)


def change(data, key, value):
    *folders, last = key.split("/")
    for folder in folders:
        data = data[int(folder) if folder.isdigit() else folder]
    data[last] = value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("outer", 1.0, "0 < inner < outer"),
        ("activation", "swish", "activation 'swish'"),
        ("radial", {}, "environment is damaged"),
        ("axes", 3, r"the network energies is of widths \(6, 2\), not \(9, 2\)"),
        ("bonds", ["s-s:sigma"], "the network integrals is of widths"),
        ("energies/blocks/0/w1", [[1.0]], "do not follow one another"),
        ("energies/last/0/w", "many", "environment is damaged"),
        ("inner", 2.0, "environment has no factor of p-s"),
    ],
)
def test_damaged_tables_are_refused_by_name(tmp_path, key, value, message):
    data = copy.deepcopy(table())
    change(data, key, value)
    whole = parameter_files.read("gaas-vogl1983")
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**whole, "environment": data}))
    with pytest.raises(InputError, match=rf"mine.json: .*{message}"):
        hamiltonians.load(path)
