"""Where a network's training begins: every layer scaled so that what it gives on one batch has the size of one.

Sums over neighbours, products of sums and functions that fade at the cutoff are of very different sizes, and each is fed to
the next: with weights drawn alike, what leaves the network is far smaller than what it is to learn, and training stands
still. Layers are linear, so dividing a layer's weights by the root mean square of what it gives
mends it once all layers before it are mended (Mishkin and Matas, ICLR 2016, arXiv:1511.06422). One factor an irrep: the
network turns with the crystal as before. Flows in: parameters, one batch. Flows out: parameters.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxepi.hamiltonians.e3 import Equivariant
from jaxepi.hamiltonians.e3_network import AtomNetwork, EdgeNetwork
from jaxepi.nn import radial_basis

START = 0.1
"""Size of what the network gives at first, in units of what the baseline leaves."""

SMALLEST = 1e-5
"""Of a root mean square, where all that enters has the size of one: irreps of which the batch has none are left as they are."""

READOUTS = ("onsite", "hopping")
"""Names of the last layers."""

NONLINEAR = ("radial", "invariants")
"""Names of parts that are not linear: of these, only what enters is scaled."""

Path = tuple[str, ...]


def calibrated(
    module: Equivariant,
    params: Mapping[str, Any],
    species: Array,
    vectors: tuple[Array, ...],
    receivers: tuple[Array, ...],
) -> dict[str, Any]:
    """Parameters `atoms` and `edges` of a network whose layers give numbers of the size of one on a batch.

    Args:
        params: as drawn. species, vectors, receivers: of the batch, as `Equivariant.learned` takes them.
    """
    atoms, edges = module.atoms, module.edges
    assert atoms is not None
    assert edges is not None
    lengths = [jnp.linalg.norm(v, axis=-1) for v in vectors]
    sizes = [_size(radial_basis(r[r < atoms.cutoff], atoms.cutoff, atoms.radial_features)) for r in lengths]
    params = jax.tree.map(jnp.asarray, {name: params[name] for name in ("atoms", "edges")})
    own = dict(params["atoms"])
    divided = {}
    for t in range(atoms.interactions):
        for i, (size, typical) in enumerate(zip(sizes, atoms.neighbours, strict=True)):
            name = f"convolution_{t}_{i}"
            own[name] = _first_divided(own[name], "radial", atoms.radial_features, size)
            divided[name] = typical
    own = _in_order(partial(_recorded, atoms, (species, vectors, receivers)), own, divided)
    features = atoms.apply({"params": own}, species, vectors, receivers)[0]
    between = {}
    for kind, v, there, size in zip(module.kinds, vectors, receivers, sizes, strict=True):
        senders = jnp.repeat(jnp.arange(v.shape[0], dtype=jnp.int32), v.shape[1])
        ends = (features, v.reshape(-1, 3), senders, there.reshape(-1))
        first = _first_divided(params["edges"][kind], "invariants", edges.radial_features, size)
        between[kind] = _in_order(partial(_recorded, edges, ends), first, {})
    return {"atoms": own, "edges": between}


def _first_divided(params: Mapping[str, Any], name: str, count: int, size: Array) -> dict[str, Any]:
    """Weights with which so many radial functions enter a part, divided by the size of these."""
    weights = params[name]["w0"]
    scaled = weights.at[:count].divide(jnp.where(size > SMALLEST, size, 1.0).astype(weights.dtype))
    return {**params, name: {**params[name], "w0": scaled}}


def _recorded(network: AtomNetwork | EdgeNetwork, inputs: tuple[Any, ...], params: Any) -> Any:
    """What each layer of a network gives."""
    return network.apply({"params": params}, *inputs, capture_intermediates=True)[1]["intermediates"]


def _in_order(run: Callable[[Any], Any], params: dict[str, Any], divided: Mapping[str, float]) -> dict[str, Any]:
    """Parameters with all linear layers scaled, those that are called first before those that they feed.

    Args:
        run: what each layer of a network gives. divided: convolutions, and what each divides its sums by.
    """
    order: list[Path] = []

    def called(p: Any) -> Any:
        order.extend(_linear_layers(p, run(p)))  # a trace keeps the order of the calls
        return 0

    jax.eval_shape(called, params)
    compiled = jax.jit(run)
    for path in order:
        target = START if path[-1] in READOUTS else divided.get(path[0], 1.0) if path[-1] == "down" else 1.0
        params = _scaled(params, compiled(params), path, target)
    return params


def _linear_layers(params: Mapping[str, Any], given: Mapping[str, Any], above: Path = ()) -> list[Path]:
    """Parts that have one matrix an irrep."""
    found: list[Path] = []
    for name, inner in given.items():
        part = params.get(name)
        if name in NONLINEAR or not isinstance(part, Mapping):
            continue
        if "w0" in part:
            found.append((*above, name))
        else:
            found += _linear_layers(part, inner, (*above, name))
    return found


def _scaled(params: Mapping[str, Any], given: Mapping[str, Any], path: Path, target: float) -> dict[str, Any]:
    """Parameters with the matrices of one layer divided by the size of what they give."""
    name, rest = path[0], path[1:]
    if rest:
        return {**params, name: _scaled(params[name], given[name], rest, target)}
    own = {f"w{irrep.label}": x for irrep, x in given[name]["__call__"][0].items()}
    return {**params, name: {k: _divided(w, own[k], target) for k, w in params[name].items()}}


def _divided(weights: Array, given: Array, target: float) -> Array:
    size = _size(given)
    return weights * jnp.where(size > SMALLEST, target / jnp.maximum(size, SMALLEST), 1.0).astype(weights.dtype)


def _size(x: Float[Array, "n *rest"]) -> Array:
    """Root mean square of the rows that are not zero, as those of edges that pad a batch are."""
    rows = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    some = jnp.maximum(jnp.sum(jnp.any(rows != 0, axis=1), dtype=jnp.int32), 1)
    return jnp.sqrt(jnp.sum(rows**2) / (some * rows.shape[1]).astype(rows.dtype))
