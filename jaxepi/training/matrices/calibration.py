"""Where a network's training begins: every layer scaled so that what it gives on one batch has the size of one.

Sums over neighbours, products of sums and functions that fade at the cutoff are of very different sizes, and each is fed to
the next: with weights drawn alike, what leaves the network is a hundredth (between layers a ten thousandth) of what it is to
learn, and training stands still. Layers are linear, so dividing a layer's weights by the root mean square of what it gives
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
from jaxepi.nn import radial_basis

START = 0.1
"""Size of what the network gives at first, in units of what the baseline leaves."""

SMALLEST = 1e-6
"""Of a root mean square: irreps of which the batch has none are left as they are."""

SWEEPS = 12
"""At least as many as there are layers one behind another."""

READOUTS = ("onsite", "hopping")
"""Names of the last layers."""

NONLINEAR = ("radial", "invariants")
"""Names of parts that are not linear: of these, only what enters is scaled."""

Apply = Callable[[Any], tuple[Any, Mapping[str, Any]]]


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
    of_atoms = partial(atoms.apply, capture_intermediates=True)
    run = jax.jit(lambda p: of_atoms({"params": p}, species, vectors, receivers))
    own = _swept(run, own, divided)
    features = run(own)[0][0]
    between = {}
    for kind, v, there, size in zip(module.kinds, vectors, receivers, sizes, strict=True):
        senders = jnp.repeat(jnp.arange(v.shape[0], dtype=jnp.int32), v.shape[1])
        ends = (features, v.reshape(-1, 3), senders, there.reshape(-1))
        of_edges = partial(edges.apply, capture_intermediates=True)
        first = _first_divided(params["edges"][kind], "invariants", edges.radial_features, size)
        between[kind] = _swept(jax.jit(lambda p, e=ends, f=of_edges: f({"params": p}, *e)), first, {})
    return {"atoms": own, "edges": between}


def _first_divided(params: Mapping[str, Any], name: str, count: int, size: Array) -> dict[str, Any]:
    """Weights with which so many radial functions enter a part, divided by the size of these."""
    weights = jnp.asarray(params[name]["w0"])
    scaled = weights.at[:count].divide(jnp.where(size > SMALLEST, size, 1.0).astype(weights.dtype))
    return {**params, name: {**params[name], "w0": scaled}}


def _swept(run: Apply, params: dict[str, Any], divided: Mapping[str, float]) -> dict[str, Any]:
    """All layers at once, again and again: those behind k others are right after k + 1 sweeps.

    Args:
        run: gives what every layer gives. divided: convolutions, and what each divides its sums by.
    """
    for _ in range(SWEEPS):
        params = _scaled(params, run(params)[1]["intermediates"], divided)
    return params


def _scaled(params: Mapping[str, Any], given: Mapping[str, Any], divided: Mapping[str, float], parent: str = "") -> Any:
    """Linear layers, which have one matrix an irrep, divided by the size of what they give."""
    out = {}
    for name, part in params.items():
        inner = given.get(name, {})
        found = inner.get("__call__", ((),))[0] if name not in NONLINEAR else ()
        own = {f"w{irrep.label}": x for irrep, x in found.items()} if isinstance(found, Mapping) else {}
        if not isinstance(part, Mapping):
            out[name] = part
        elif own.keys() & part.keys():
            target = START if name in READOUTS else divided.get(parent, 1.0) if name == "down" else 1.0
            out[name] = {k: _divided(w, own[k], target) for k, w in part.items()}
        else:
            out[name] = _scaled(part, inner, divided, name)
    return out


def _divided(weights: Array, given: Array, target: float) -> Array:
    size = _size(given)
    return weights * jnp.where(size > SMALLEST, target / jnp.maximum(size, SMALLEST), 1.0).astype(weights.dtype)


def _size(x: Float[Array, "n *rest"]) -> Array:
    """Root mean square of the rows that are not zero: edges that pad a batch are."""
    rows = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    some = jnp.maximum(jnp.sum(jnp.any(rows != 0, axis=1), dtype=jnp.int32), 1)
    return jnp.sqrt(jnp.sum(rows**2) / (some * rows.shape[1]).astype(rows.dtype))
