"""On-site blocks of published sets: how an atom's own energies depend on the bonds around it.

- `constant`: the tabulated energies.
- `niquet`: full on-site blocks linear in bond length and quadratic in direction (Niquet et al., Phys. Rev. B 79, 245201
  (2009)). With n the bond direction and Q = n n - 1/3, summed over neighbours: alpha on each shell times 3/4 (d/d0 - 1);
  p-p beta_p(d) Q; d-d of the same symmetry; s-p beta n; s-d beta Y/sqrt(3); p-d beta_pd(d) (2/sqrt 3) D_a n.
- `boykin`: diagonal shifts from the change of squared couplings (Boykin et al., Phys. Rev. B 66, 125207 (2002)). The
  energies in their denominators are counted from a vacuum level (the set's `shift`) above all orbitals, so compression
  raises them: with the opposite sign silicon's shear deformation potentials come out far off. They
  refer to each bond's ideal direction, which is the graph's reference, and to the cubic axes: build the graph from the
  perfect, unrotated crystal.
- `density`: energies as powers of an embedding density (NRL; Bernstein et al., Phys. Rev. B 62, 4477 (2000)).
- `bonds`: two-centre blocks of every bond, with the distance law of the set, added to the energies ("strain" of DeePTB;
  Gu et al., Nat. Commun. 15, 6772 (2024)).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians.basis import SHELLS, Basis
from jaxepi.hamiltonians.laws import LAWS, nrl_switch
from jaxepi.hamiltonians.two_centre import BONDS, bond_tensors, two_centre
from jaxepi.structure import Structure


class Terms(NamedTuple):
    """What an on-site model may depend on: among other things the set's `edge_blocks` from tables of integrals."""

    basis: Basis
    edge_blocks: Callable[[dict, tuple[Array, Array], Array, Array], Array]
    params: dict
    kinds: Array
    pair: tuple[Array, Array]
    direction: Float[Array, "e 3"]
    distance: Float[Array, " e"]
    hopping: Float[Array, "e o o"]
    graph: Graph
    law: str
    weight: Float[Array, " e"] | None = None
    deltas: dict[str, Array] | None = None

    def sum_bonds(self, values: Array) -> Array:
        """Sum of per-edge values over the bonds of each sender, times the weights of the bonds if there are any."""
        if self.weight is not None:
            values = values * self.weight.reshape(-1, *[1] * (values.ndim - 1))
        return jax.ops.segment_sum(values, self.graph.senders, self.graph.n_atoms, indices_are_sorted=True)

    def energies(self) -> Float[Array, "kinds o"]:
        """Tabulated energies of all orbitals."""
        return self.basis.by_orbital(self.params["onsite"]).astype(self.distance.dtype)

    def diagonal(self) -> Array:
        """Tabulated energies as diagonal blocks (n, o, o), and what couples shells of equal angular momentum."""
        values = self.energies()[self.kinds]
        if self.deltas is not None:
            scales = jnp.stack([1 + self.deltas[shell] for shell in self.basis.all_shells], axis=1)
            values = values * self.basis.by_orbital(scales)
        energies = jax.vmap(jnp.diag)(values)
        if "mixing" not in self.params:
            return energies
        mixing = self.basis.by_orbital(self.basis.by_orbital(self.params["mixing"]).mT).mT
        mixing = mixing * _equal_components(self.basis)[None].astype(mixing.dtype)
        return energies + mixing[self.kinds].astype(energies.dtype)


def _equal_components(basis: Basis) -> Array:
    """One between equal components of two shells of one angular momentum, else zero: shape (o, o)."""
    marks = np.array([(SHELLS[name][0], m) for name in basis.all_shells for m in SHELLS[name][1]])
    return jnp.asarray((marks[:, None] == marks[None]).all(axis=2), float)


def constant(terms: Terms) -> Float[Array, "n o o"]:
    """Tabulated on-site energies, independent of the bonds."""
    return terms.diagonal()


def niquet(terms: Terms) -> Float[Array, "n o o"]:
    """Bond-dependent on-site blocks of Niquet et al. (2009)."""
    p = jax.tree.map(lambda v: v.astype(terms.distance.dtype), terms.params["niquet"])
    n, y_and_gradient = terms.direction, bond_tensors(terms.direction)
    y, half_gradient = y_and_gradient
    stretch = terms.distance / p["length"] - 1
    where = terms.basis.slices()
    bonds = jnp.zeros_like(terms.hopping)
    for shell, alpha in p["alpha"].items():
        width = len(SHELLS[shell][1])
        hydrostatic = 0.75 * alpha * stretch[:, None, None] * jnp.eye(width, dtype=n.dtype)[None]
        bonds = bonds.at[:, where[shell], where[shell]].add(hydrostatic)
    beta_p = (p["p0"] + p["p1"] * stretch)[:, None, None]
    beta_pd = (p["pd0"] + p["pd1"] * stretch)[:, None, None]
    pp = beta_p * (n[:, :, None] * n[:, None, :] - jnp.eye(3, dtype=n.dtype)[None] / 3)
    gradients = jnp.einsum("eia,eib->eab", half_gradient, half_gradient)
    dd = -(4 / 3) * p["d0"] * (gradients - 0.5 * jnp.eye(5, dtype=n.dtype)[None])
    root3 = 3**0.5
    bonds = bonds.at[:, where["p"], where["p"]].add(pp).at[:, where["d"], where["d"]].add(dd)
    couplings = (
        ("s", "p", p["sp0"] * n[:, None, :]),
        ("s*", "p", p["Sp0"] * n[:, None, :]),
        ("s", "d", p["sd0"] / root3 * y[:, None, :]),
        ("s*", "d", p["Sd0"] / root3 * y[:, None, :]),
        ("p", "d", (2 / root3) * beta_pd * half_gradient),
    )
    for a, b, block in couplings:
        bonds = bonds.at[:, where[a], where[b]].add(block)
        bonds = bonds.at[:, where[b], where[a]].add(jnp.swapaxes(block, 1, 2))
    return terms.diagonal() + terms.sum_bonds(bonds)


def boykin(terms: Terms) -> Float[Array, "n o o"]:
    """Diagonal shifts of Boykin et al.: const C_ab (V0_ab^2 - V_ab^2)/(E_a + E_b - 2 shift), summed over bonds."""
    p = jax.tree.map(lambda x: x.astype(terms.distance.dtype), terms.params["boykin"])
    reference = terms.graph.reference.astype(terms.distance.dtype)
    ideal = reference / jnp.linalg.norm(reference, axis=1, keepdims=True)
    length = p["length"][terms.pair].astype(terms.distance.dtype)
    axes = _published_axes(terms.basis).astype(terms.distance.dtype)
    before = axes @ terms.edge_blocks(terms.params["hopping"], terms.pair, ideal, length) @ axes.T
    after = axes @ terms.hopping @ axes.T
    energies = terms.energies()
    a, b = energies[terms.pair[0]], energies[terms.pair[1]]
    basis = terms.basis
    constants = basis.by_orbital(basis.by_orbital(p["C"]).mT).mT
    weight = p["strength"] * constants[terms.pair] / (a[:, :, None] + b[:, None, :] - 2 * p["shift"])
    shifts = terms.sum_bonds((weight.astype(a.dtype) * (before**2 - after**2)).sum(axis=2))
    return terms.diagonal() + axes.T @ (shifts[:, :, None] * axes[None])


def _published_axes(basis: Basis) -> Array:
    """Rotation from this basis, whose d shell has y as its axis, to that of the paper: 3z^2-r^2 and x^2-y^2, not 3y^2-r^2
    and z^2-x^2. Shifts that are diagonal in one are not in the other."""
    rotation, d = np.eye(basis.width), basis.slices().get("d")
    if d is not None:
        half = np.sqrt(3) / 2
        rotation[np.ix_([d.start + 2, d.start + 4], [d.start + 2, d.start + 4])] = [[-0.5, half], [-half, -0.5]]
    return jnp.asarray(rotation)


def density(terms: Terms) -> Float[Array, "n o o"]:
    """E_l = a + b rho^(2/3) + c rho^(4/3) + d rho^2 with rho = sum_j exp(-decay^2 d) F(d); a to d of shells, or of species
    and their shells."""
    p = terms.params["density"]
    d = terms.distance
    rho = terms.sum_bonds(jnp.exp(-(p["decay"] ** 2) * d) * nrl_switch(d, p["switch"], p["width"]))
    powers = jnp.stack([jnp.ones_like(rho), rho ** (2 / 3), rho ** (4 / 3), rho**2], axis=1)
    coefficients = p["coefficients"].astype(d.dtype)
    own = jnp.broadcast_to(coefficients, (len(terms.basis.shells), *coefficients.shape[-2:]))[terms.kinds]
    return jax.vmap(jnp.diag)(terms.basis.by_orbital(jnp.einsum("np,nsp->ns", powers, own)))


def bonds(terms: Terms) -> Float[Array, "n o o"]:
    """The tabulated energies and, of every bond, a two-centre block between the shells of its first atom."""
    where, dtype = terms.basis.slices(), terms.distance.dtype
    found = jnp.zeros_like(terms.hopping)
    for name, table in terms.params["bonds"].items():
        pair, bond = name.split(":")
        a, b = pair.split("-")
        radial = LAWS[terms.law](terms.distance, **{k: v[terms.pair].astype(dtype) for k, v in table.items()})
        (l1, keep1), (l2, keep2) = SHELLS[a], SHELLS[b]
        factor = two_centre(l1, l2, terms.direction)[BONDS.index(bond)][:, np.array(keep1)][:, :, np.array(keep2)]
        block = radial[:, None, None] * factor
        found = found.at[:, where[a], where[b]].add(block)
        if a != b:
            found = found.at[:, where[b], where[a]].add(jnp.swapaxes(block, 1, 2))
    return terms.diagonal() + terms.sum_bonds(found)


MODELS: dict[str, Callable[[Terms], Array]] = {
    "constant": constant,
    "niquet": niquet,
    "boykin": boykin,
    "density": density,
    "bonds": bonds,
}


def check(model: str, structure: Structure, graph: Graph) -> None:
    """Refuse structures an on-site model cannot describe.

    Raises:
        InputError: for `boykin`, a reference whose bonds are not the ideal tetrahedral directions of the cubic axes.
    """
    if model != "boykin":
        return
    reference = np.asarray(graph.reference)
    ideal = np.abs(reference) / np.linalg.norm(reference, axis=1, keepdims=True)
    worst = float(np.abs(ideal - 1 / np.sqrt(3)).max()) if len(ideal) else 1.0
    if worst > 0.02:
        raise InputError(
            f"Boykin's on-site shifts refer to ideal bonds along the cubic <111> directions; this reference deviates by "
            f"{worst:.3f} in a direction cosine. Build the graph from the perfect, unrotated crystal"
        )
