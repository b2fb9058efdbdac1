"""Writes a model of mace-torch as a checkpoint of jaxepi, and checks energy and forces of both.

    python scripts/convert_mace.py mace.model mace.npz

Runs where jaxepi and mace-torch are both installed (`pip install mace-torch==0.3.16` beside jaxepi), since the model is
unpickled, which jaxepi never does. What jaxepi's network spans: ScaleShiftMACE or MACE with interaction blocks
RealAgnosticResidualInteractionBlock, Bessel functions, no pair repulsion, one head. Any other part is refused by its name;
`sampling.ForceConstants.from_ase(MACECalculator(...), ...)` then takes the model as it is.
"""

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

jax.config.update("jax_enable_x64", True)
torch.serialization.add_safe_globals(
    [slice]
)  # e3nn 0.4 keeps its constants in a file that torch 2.6 and later distrusts

import jax.numpy as jnp  # noqa: E402
from ase import Atoms  # noqa: E402
from e3nn import o3  # noqa: E402
from mace import data, tools  # noqa: E402
from mace.tools import torch_geometric  # noqa: E402

from jaxepi.nn.contraction import symmetric_basis  # noqa: E402
from jaxepi.nn.features import natural, natural_up_to  # noqa: E402
from jaxepi.nn.features import paths as paths_of  # noqa: E402
from jaxepi.nn.spherical import coupling  # noqa: E402
from jaxepi.potentials import learned  # noqa: E402
from jaxepi.potentials.base import Potential  # noqa: E402
from jaxepi.structure import Structure  # noqa: E402

BLOCK = "RealAgnosticResidualInteractionBlock"
SILU = 1.6791767923989418
"""Normalises silu in jaxepi; what e3nn has is folded into the weights that follow."""
DOOR = "use the ASE calculator of mace-torch (sampling.ForceConstants.from_ase) for it"
TOLERANCE = 1e-5
"""Of energies and forces, relative."""


def refuse_outside(model: torch.nn.Module) -> None:
    """Refuse what the network of jaxepi does not span.

    Raises:
        SystemExit: names the part.
    """
    kind = type(model).__name__
    radial = model.radial_embedding
    readouts = [type(r).__name__ for r in model.readouts]
    hidden = o3.Irreps(str(model.interactions[0].hidden_irreps))
    corrections = {int(p.symmetric_contractions.contractions[0].correlation) for p in model.products}
    parts = {
        f"the class {kind}": kind not in ("MACE", "ScaleShiftMACE"),
        f"the interaction block {type(model.interactions[0]).__name__}": type(model.interactions[0]).__name__ != BLOCK,
        f"the interaction block {type(model.interactions[-1]).__name__}": type(model.interactions[-1]).__name__
        != BLOCK,
        f"the radial functions {type(radial.bessel_fn).__name__}": type(radial.bessel_fn).__name__ != "BesselBasis",
        "the distance transform": hasattr(radial, "distance_transform"),
        "a cutoff that is applied to weights": not getattr(radial, "apply_cutoff", True),
        "the pair repulsion": bool(getattr(model, "pair_repulsion", False)),
        f"{len(model.heads)} heads": len(model.heads) != 1,
        "a single interaction": len(model.interactions) < 2,
        f"the readouts {', '.join(readouts)}": readouts
        != ["LinearReadoutBlock"] * (len(model.interactions) - 1) + ["NonLinearReadoutBlock"],
        "products of other orders in each layer": len(corrections) != 1,
        "products that do not know the elements": bool(getattr(model, "use_agnostic_product", False)),
        "edge irreps of their own": getattr(model, "edge_irreps", None) is not None,
        "an embedding of charges or spins": hasattr(model, "joint_embedding"),
        f"hidden features {hidden}": [str(ir) for _, ir in hidden] != [str(natural(l)) for l in range(len(hidden))]
        or len({count for count, _ in hidden}) != 1,
    }
    found = next((part for part, outside in parts.items() if outside), None)
    if found:
        raise SystemExit(f"{found} of this model has no counterpart in jaxepi: {DOOR}")


def _array(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().double().numpy()


def _linear(layer: torch.nn.Module) -> dict[int, list[np.ndarray]]:
    """Matrices of an e3nn Linear by angular momentum, one an instruction."""
    out: dict[int, list[np.ndarray]] = {}
    for _, ins, weight in layer.weight_views(yield_instruction=True):
        out.setdefault(layer.irreps_in[ins.i_in].ir.l, []).append(_array(weight))
    return out


def _mixed(layer: torch.nn.Module) -> dict[str, np.ndarray]:
    return {f"w{l}": np.concatenate(parts) for l, parts in _linear(layer).items()}


def _ratio(theirs: np.ndarray, ours: np.ndarray) -> float:
    factor = float((theirs * ours).sum() / (ours**2).sum())
    assert np.abs(theirs - factor * ours).max() < 1e-6, "couplings of e3nn and e3nn-jax differ by more than a factor"
    return factor


def _convolution(block: torch.nn.Module, lmax: int) -> dict[str, Any]:
    """Weights of an interaction block."""
    layers = [getattr(block.conv_tp_weights, f"layer{i}") for i in range(len(block.conv_tp_weights.hs) - 1)]
    hidden = [_array(layer.weight) for layer in layers]
    factor = float(layers[0].act.cst) / SILU
    hidden[1:] = [factor * w for w in hidden[1:]]
    out: dict[str, Any] = {"up": _mixed(block.linear_up), "radial": {f"w{i}": w for i, w in enumerate(hidden[:-1])}}
    tp, channels, start = block.conv_tp, block.linear_up.irreps_out[0].mul, 0
    given = [natural(ir.l) for _, ir in tp.irreps_in1]
    around = natural_up_to(lmax)
    slots: dict[tuple[int, int, int], int] = {}
    for ins in tp.instructions:
        a, b, c = (
            irreps[i].ir.l
            for irreps, i in ((tp.irreps_in1, ins.i_in1), (tp.irreps_in2, ins.i_in2), (tp.irreps_out, ins.i_out))
        )
        w3j = o3.wigner_3j(a, b, c, dtype=torch.float64).numpy()
        scale = _ratio(ins.path_weight * w3j, coupling(a, b, c)) * (-1) ** b  # their edges point to the centre
        scale *= len(paths_of(given, around, natural(c))) ** 0.5
        names = [irrep.label for irrep in (natural(a), natural(b), natural(c))]
        out[f"path_{'_'.join(names)}"] = scale * hidden[-1][:, start : start + channels]
        slots[a, b, c] = ins.i_out
        start += channels
    down = {}
    for _, ins, weight in block.linear.weight_views(yield_instruction=True):
        down[ins.i_in] = _array(weight)
    simplified = len(down) < len(slots)
    out["down"] = {}
    for irrep in around:
        found = [(a.l, b.l) for a, b in paths_of(given, around, irrep)]
        if simplified:  # one matrix for all slots of an irrep, in their order
            (whole,) = (w for i, w in down.items() if block.linear.irreps_in[i].ir.l == irrep.l)
            order = sorted(found, key=lambda pair: slots[(*pair, irrep.l)])
            rows = {pair: whole[i * channels : (i + 1) * channels] for i, pair in enumerate(order)}
        else:
            rows = {pair: down[slots[(*pair, irrep.l)]] for pair in found}
        out["down"][f"w{irrep.label}"] = np.concatenate([rows[pair] for pair in found])
    return out


def _products(block: torch.nn.Module, lmax: int) -> dict[str, np.ndarray]:
    """Weights of the symmetric contraction in jaxepi's basis of couplings, which spans theirs."""
    out, given = {}, natural_up_to(lmax)
    for contraction in block.symmetric_contractions.contractions:
        order = contraction.correlation
        weights = {order: contraction.weights_max, **{order - 1 - i: w for i, w in enumerate(contraction.weights)}}
        l = next(iter(contraction.U_matrix_1.shape)) // 2 if contraction.U_matrix_1.ndim == 3 else 0
        for nu, w in weights.items():
            u = _array(getattr(contraction, f"U_matrix_{nu}"))
            u = u if u.ndim == nu + 2 else u[None]
            axes = range(1, nu + 1)
            turns = [np.transpose(u, (0, *p, nu + 1)) for p in itertools.permutations(axes)]
            symmetric = np.moveaxis(sum(turns) / len(turns), 0, nu)
            basis = np.asarray(symmetric_basis(given, nu, natural(l)), np.float64)
            if basis.shape[-1] == 0:
                continue
            flat = basis.reshape(-1, basis.shape[-1])
            change, *_ = np.linalg.lstsq(flat, symmetric.reshape(len(flat), -1), rcond=None)
            left = np.abs(flat @ change - symmetric.reshape(len(flat), -1)).max()
            assert left < 1e-5, f"couplings of order {nu} to l = {l} lie outside the basis by {left:.1e}"
            out[f"w{nu}_{natural(l).label}"] = np.einsum("pk,ekc->epc", change, _array(w))
    return out


def _residual(block: torch.nn.Module) -> dict[str, np.ndarray]:
    tp, out, start = block.skip_tp, {}, 0
    for ins in tp.instructions:
        first, kinds, last = tp.irreps_in1[ins.i_in1], tp.irreps_in2[ins.i_in2], tp.irreps_out[ins.i_out]
        size = first.mul * kinds.mul * last.mul
        weight = _array(tp.weight)[start : start + size].reshape(first.mul, kinds.mul, last.mul)
        start += size
        w3j = o3.wigner_3j(first.ir.l, 0, first.ir.l, dtype=torch.float64).numpy()[:, 0]
        scale = ins.path_weight * _ratio(w3j, np.eye(first.ir.dim)) * first.mul**0.5
        out[f"w{first.ir.l}"] = scale * weight.transpose(1, 0, 2)
    return out


def converted(model: torch.nn.Module) -> tuple[Potential, dict[str, Any]]:
    """Potential and configuration with the numbers of a model.

    Raises:
        SystemExit: a part that has no counterpart.
    """
    refuse_outside(model)
    blocks, products = list(model.interactions), list(model.products)
    lmax = model.spherical_harmonics.irreps_out.lmax
    hidden = o3.Irreps(str(blocks[0].hidden_irreps))
    species = [int(z) for z in model.atomic_numbers]
    last = model.readouts[-1]
    config = {
        "cutoff": float(model.r_max),
        "channels": hidden[0].mul,
        "lmax": lmax,
        "hidden_lmax": hidden.lmax,
        "correlation": int(products[0].symmetric_contractions.contractions[0].correlation),
        "interactions": len(blocks),
        "radial_features": int(model.radial_embedding.out_dim),
        "radial_layers": list(blocks[0].conv_tp_weights.hs[1:-1]),
        "cutoff_power": int(model.radial_embedding.cutoff_fn.p),
        "readout": int(last.linear_1.irreps_out.dim),
        "mixing": "separate",
        "neighbours": [float(blocks[0].avg_num_neighbors)],
        "repulsion": False,
    }
    network: dict[str, Any] = {"embedding": _linear(model.node_embedding.linear)[0][0] / len(species) ** 0.5}
    for t, (block, product) in enumerate(zip(blocks, products, strict=True)):
        network[f"convolution_{t}_0"] = _convolution(block, lmax)
        network[f"products_{t}"] = _products(product, lmax)
        network[f"mix_{t}"] = _mixed(product.linear)
        network[f"residual_{t}"] = _residual(block)
        if t < len(blocks) - 1:
            network[f"readout_{t}"] = {"w0": _linear(model.readouts[t].linear)[0][0]}
    activation = float(last.non_linearity.acts[0].cst) / SILU
    network["hidden"] = {"w0": _linear(last.linear_1)[0][0]}
    network[f"readout_{len(blocks) - 1}"] = {"w0": activation * _linear(last.linear_2)[0][0]}
    reference = _array(model.atomic_energies_fn.atomic_energies).reshape(-1)
    scale, shift = 1.0, 0.0
    if type(model).__name__ == "ScaleShiftMACE":
        scale, shift = (float(_array(getattr(model.scale_shift, n)).reshape(-1)[0]) for n in ("scale", "shift"))
    module = learned.build(config, species)
    params = {"network": network, "reference": reference + shift, "scale": np.asarray(scale)}
    expected = jax.eval_shape(module.init, jax.random.key(0))
    mine, theirs = (jax.tree.map(np.shape, tree, is_leaf=lambda x: hasattr(x, "shape")) for tree in (params, expected))
    if mine != theirs:
        raise SystemExit(
            f"the weights of this model have other shapes than the network of jaxepi: {DOOR}\n{mine}\n{theirs}"
        )
    return Potential(jax.tree.map(jnp.asarray, params), module), config


def both(model: torch.nn.Module, potential: Potential, atoms: Atoms) -> dict[str, tuple[float, np.ndarray]]:
    """Energy (eV) and forces (eV/angstrom) of mace-torch and of jaxepi, in float64."""
    table = tools.AtomicNumberTable([int(z) for z in model.atomic_numbers])
    one = data.AtomicData.from_config(data.config_from_atoms(atoms), z_table=table, cutoff=float(model.r_max))
    batch = next(iter(torch_geometric.dataloader.DataLoader([one], batch_size=1)))
    theirs = model(batch.to_dict())
    structure = Structure.from_ase(atoms)
    graph = potential.graph(structure)
    mine = float(potential.energy(structure, graph)), np.asarray(potential.forces(structure, graph))
    return {"mace-torch": (float(theirs["energy"].detach()), _array(theirs["forces"])), "jaxepi": mine}


def difference(found: dict[str, tuple[float, np.ndarray]]) -> tuple[float, float]:
    """Of energy and of forces, relative to the energy and to the largest force."""
    (e, f), (energy, forces) = found["mace-torch"], found["jaxepi"]
    return abs(energy - e) / max(abs(e), 1e-10), float(np.abs(forces - f).max() / np.abs(f).max())


def sample(model: torch.nn.Module) -> Atoms:
    """A rattled crystal of all elements of a model (the first eight)."""
    numbers = [int(z) for z in model.atomic_numbers][:8]
    atoms = Atoms([numbers[i % len(numbers)] for i in range(8)], cell=np.eye(3) * 5.2, pbc=True)
    atoms.set_scaled_positions(
        np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4
    )
    atoms.rattle(0.1, seed=1)
    return atoms


def main() -> None:
    """Read, convert, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("output", help="ends in .npz")
    arguments = parser.parse_args()
    if Path(arguments.output).exists():
        raise SystemExit(f"{arguments.output} exists; choose another name")
    torch.set_default_dtype(torch.float64)
    try:
        model = torch.load(arguments.model, map_location="cpu", weights_only=False).double()
    except Exception as error:  # whatever unpickling meets in a damaged file
        raise SystemExit(f"{arguments.model} cannot be read as a model of mace-torch: {error}") from error
    potential, config = converted(model)
    energy, forces = difference(both(model, potential, sample(model)))
    print(
        f"mace-torch and jaxepi differ by {energy:.1e} in the energy and {forces:.1e} in the forces of a rattled crystal"
    )
    if not max(energy, forces) < TOLERANCE:
        raise SystemExit(f"more than {TOLERANCE:g}: nothing was written; {DOOR}")
    card = {
        "citation": f"model {Path(arguments.model).name} of mace-torch",
        "converted_from": Path(arguments.model).name,
    }
    learned.write(potential, config, arguments.output, card)
    print(f"{arguments.output}: jaxepi phonons CRYSTAL --potential {arguments.output}")


if __name__ == "__main__":
    sys.exit(main())
