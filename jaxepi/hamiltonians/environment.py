"""How the surroundings of atoms scale the integrals of a Slater-Koster set: the environment-dependent models of DeePTB.

Gu et al., Nat. Commun. 15, 6772 (2024), after Zhang et al., NeurIPS 2018 (DeepPot-SE). Of every neighbour within `outer`, with
s(r) = 1/r switched off from `inner` on, a network gives numbers g(s, both elements). With D = mean_j g_j (s, s n), the
descriptor of an atom is D D^T (its first `axes` columns), less its mean and normalised. One network takes it to factors of the
atom's energies, another takes the sum of those of both ends of a bond, and 1/r, to factors of its integrals:
E (1 + delta), V (1 + delta). The overlap has none.

Flows in: positions. Flows out: delta. The mean counts the neighbours, so that delta jumps a little where one passes `outer`.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians.laws import smooth_step

ACTIVATIONS = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
}
NETWORKS = ("radial", "energies", "integrals")


@dataclasses.dataclass(frozen=True)
class Environment:
    """What is fixed of such a model.

    Attributes:
        inner, outer: angstrom. axes: columns of the descriptor. activation: of all networks.
        shells: whose energies get a factor. bonds: integrals "shell-shell:bond" that get one.
    """

    inner: float
    outer: float
    axes: int
    activation: str
    shells: tuple[str, ...]
    bonds: tuple[str, ...]

    def deltas(
        self, params: Any, kinds: Int[Array, " n"], count: int, graph: Graph, vectors: Float[Array, "e 3"]
    ) -> tuple[dict[str, Float[Array, " n"]], dict[str, Float[Array, " e"]]]:
        """Relative changes of energies by shell and of integrals by name, also by the name of the reversed one.

        Args:
            kinds: of each atom, `count` of them. vectors: of the edges, angstrom.
        """
        length = jnp.sqrt((vectors**2).sum(axis=1))
        s = smooth_step(length, self.inner, self.outer) / length
        element = jax.nn.one_hot(kinds, count, dtype=length.dtype)
        senders, receivers = graph.senders, graph.receivers
        g = self._network(params["radial"], jnp.concatenate([s[:, None], element[senders], element[receivers]], axis=1))
        inside = (length < self.outer).astype(length.dtype)
        around = jnp.concatenate([s[:, None], s[:, None] * vectors / length[:, None]], axis=1)

        def total(x):
            return jax.ops.segment_sum(x, senders, graph.n_atoms, indices_are_sorted=True)

        neighbours = jnp.maximum(total(inside), 1.0)
        d = total(inside[:, None, None] * g[:, :, None] * around[:, None]) / neighbours[:, None, None]
        product = jnp.einsum("nda,nca->ndc", d, d)[:, :, : self.axes].reshape(graph.n_atoms, -1)
        product = product - product.mean(axis=1, keepdims=True)
        atoms = product / jnp.sqrt((product**2).sum(axis=1, keepdims=True))
        of_bonds = jnp.concatenate([atoms[senders] + atoms[receivers], 1 / length[:, None]], axis=1)
        energies, integrals = self._network(params["energies"], atoms), self._network(params["integrals"], of_bonds)
        named = dict(zip(self.bonds, integrals.T, strict=True))
        return dict(zip(self.shells, energies.T, strict=True)), {
            **{turned(name): x for name, x in named.items()},
            **named,
        }

    def _network(self, params: Any, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
        active = ACTIVATIONS[self.activation]
        p = jax.tree.map(lambda value: jnp.asarray(value, x.dtype), params)
        for block in p["blocks"]:
            inner = active(x @ block["w0"].T + block["b0"][None]) @ block["w1"].T + block["b1"][None]
            x = active(active(inner + x @ block["skip"].T))
        for i, layer in enumerate(p["last"]):
            x = (active(x) if i else x) @ layer["w"].T + layer["b"][None]
        return x


def turned(name: str) -> str:
    """The name of an integral with the two ends of its bond exchanged."""
    pair, bond = name.split(":")
    a, b = pair.split("-")
    return f"{b}-{a}:{bond}"


def build(data: Mapping[str, Any], elements: int, where: str) -> tuple[Environment, dict[str, Any]]:
    """The fixed part and the parameters, from the table `environment` of a parameter file.

    Raises:
        InputError: what is missing, of another type, or does not fit together.
    """
    try:
        fixed = Environment(
            float(data["inner"]), float(data["outer"]), int(data["axes"]), str(data["activation"]),
            tuple(map(str, data["shells"])), tuple(map(str, data["bonds"])),
        )  # fmt: skip
        params = {
            name: {
                "blocks": [{k: np.array(v, float) for k, v in block.items()} for block in data[name]["blocks"]],
                "last": [{k: np.array(v, float) for k, v in layer.items()} for layer in data[name]["last"]],
            }
            for name in NETWORKS
        }
        widths = {name: _widths(params[name]) for name in NETWORKS}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{where}: environment is damaged ({error!r}); convert the model again") from error
    descriptor = widths["radial"][1] * fixed.axes
    expected = {
        "radial": (1 + 2 * elements, widths["radial"][1]),
        "energies": (descriptor, len(fixed.shells)),
        "integrals": (descriptor + 1, len(fixed.bonds)),
    }
    wrong = next((name for name in NETWORKS if widths[name] != expected[name]), None)
    if wrong or fixed.activation not in ACTIVATIONS or not 0 < fixed.inner < fixed.outer:
        raise InputError(
            f"{where}: environment: the network {wrong} is of widths {widths.get(wrong or '')}, not {expected.get(wrong or '')}"
            if wrong
            else f"{where}: environment has activation {fixed.activation!r}, inner {fixed.inner:g} and outer {fixed.outer:g} "
            f"angstrom; known are {', '.join(ACTIVATIONS)}, and 0 < inner < outer"
        )
    return fixed, params


def _widths(network: Mapping[str, Any]) -> tuple[int, int]:
    """Of input and output, once all matrices follow one another."""
    chain: Sequence[np.ndarray] = [m for b in network["blocks"] for m in (b["w0"], b["w1"])]
    chain = [*chain, *(layer["w"] for layer in network["last"])]
    for before, after in itertools.pairwise(chain):
        if before.shape[0] != after.shape[1]:
            raise ValueError("matrices of a network do not follow one another")
    for block in network["blocks"]:
        if block["skip"].shape != (block["w1"].shape[0], block["w0"].shape[1]):
            raise ValueError("a block of a network does not fit its input")
    return chain[0].shape[1], chain[-1].shape[0]
