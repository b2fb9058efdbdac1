"""Writes a Slater-Koster model of DeePTB (a .pth checkpoint, or JSON of version 1) as JSON that jaxepi reads.

    python scripts/convert_deeptb.py nnsk.best.pth model.json --electrons Si=4
    python scripts/convert_deeptb.py old.json model.json --options input.json

Runs beside dptb (`pip install dptb==2.2.1`, in its own environment), which unpickles the checkpoint; jaxepi never does. The
numbers are those of the checkpoint, not rounded. `--options` is the training input, which JSON of version 1 needs.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from dptb.nn.build import build_model
from dptb.nn.nnsk import NNSK
from dptb.utils.constants import atomic_num_dict


def model_of(path: str, options: str | None = None) -> NNSK:
    """The model of a checkpoint, on the CPU.

    Raises:
        SystemExit: a model that is not of Slater-Koster integrals alone; names the part.
    """
    given = json.loads(Path(options).read_text()) if options else {}
    settings = {key: given[key] for key in ("model_options", "common_options") if key in given}
    if path.endswith(".json"):
        held = {**json.loads(Path(path).read_text()), **settings}
    else:
        try:
            held = torch.load(path, map_location="cpu", weights_only=False).get("config", {})
        except Exception as error:  # whatever unpickling meets in a damaged file
            raise SystemExit(f"{path} cannot be read as a checkpoint: {error}") from error
    if "model_options" not in held or "common_options" not in held:
        raise SystemExit(f"{path} does not hold its model_options: give the training input with --options input.json")
    others = sorted(set(held["model_options"]) - {"nnsk"})
    embedding, prediction = ((held["model_options"].get(name) or {}) for name in ("embedding", "prediction"))
    if (
        others == ["embedding", "prediction"]
        and embedding.get("method") == "se2"
        and prediction.get("method") == "sktb"
    ):
        others = []
    if others or "nnsk" not in held["model_options"]:
        part = others[0] if others else "nnsk (missing)"
        method = (held["model_options"].get(part) or {}).get("method", "")
        raise SystemExit(
            f"{path}: the part {part} {method} of this model has no counterpart in jaxepi; Slater-Koster models (nnsk, alone "
            "or with the embedding se2) have one"
        )
    if path.endswith(".json"):
        settings = {key: held[key] for key in ("model_options", "common_options")}
    settings.setdefault("common_options", held["common_options"])
    settings["common_options"] = {**settings["common_options"], "device": "cpu", "dtype": "float64"}
    return build_model(checkpoint=path, no_check=True, **settings)


def _values(row: torch.Tensor) -> list[float]:
    return [float(value) for value in row.reshape(-1)]


def _bond(model: NNSK, first: str, second: str) -> int:
    """Line of a pair of elements in tables of bonds."""
    numbers = [torch.tensor(atomic_num_dict[symbol]) for symbol in (first, second)]
    return int(model.idp_sk.transform_bond(*numbers))


def _integrals(model: NNSK, table: torch.Tensor) -> dict[str, list[float]]:
    """Integrals between two elements, each pair of shells once."""
    mapper, out = model.idp_sk, {}
    order, symbols = mapper.full_basis.index, list(mapper.type_names)
    for i, first in enumerate(symbols):
        for second in symbols[i:]:
            for a, full_a in mapper.basis_to_full_basis[first].items():
                for b, full_b in mapper.basis_to_full_basis[second].items():
                    forward = order(full_a) <= order(full_b)
                    if first == second and not forward:
                        continue
                    place = mapper.orbpair_maps[f"{full_a}-{full_b}" if forward else f"{full_b}-{full_a}"]
                    rows = table[_bond(model, *((first, second) if forward else (second, first))), place]
                    if full_a == full_b:  # as the forward pass of dptb has it
                        rows = 0.5 * (rows + table[_bond(model, second, first), place])
                    for n, row in enumerate(rows):
                        out[f"{first}-{second}-{a}-{b}-{n}"] = _values(row)
    return out


def _strain(model: NNSK) -> dict[str, list[float]]:
    """Integrals between the shells of an atom for each of its neighbours."""
    mapper, out = model.idp_sk, {}
    for atom in mapper.type_names:
        for neighbour in mapper.type_names:
            line = _bond(model, atom, neighbour)
            names = mapper.basis_to_full_basis[atom]
            for a, full_a in names.items():
                for b, full_b in names.items():
                    if mapper.full_basis.index(full_a) <= mapper.full_basis.index(full_b):
                        rows = model.strain_param[line, mapper.orbpair_maps[f"{full_a}-{full_b}"]]
                        out |= {f"{atom}-{neighbour}-{a}-{b}-{n}": _values(row) for n, row in enumerate(rows)}
    return out


def _on_atoms(model: NNSK, table: torch.Tensor, same: bool = True) -> dict[str, list[float]]:
    """Numbers of pairs of shells of equal angular momentum on an atom; `same`: also of a shell with itself."""
    mapper, out = model.idp_sk, {}
    for symbol, line in mapper.chemical_symbol_to_type.items():
        names = {full: name for name, full in mapper.basis_to_full_basis[symbol].items()}
        for pair, place in mapper.skonsite_maps.items():
            a, b = (names.get(full) for full in pair.split("-"))
            if a is not None and b is not None and (same or a != b):
                out[f"{symbol}-{a}-0" if a == b else f"{symbol}-{a}-{b}-0"] = _values(table[line, place])
    return out


def _network(net: torch.nn.Module) -> dict:
    """Matrices of a residual network; how a block passes its input on is a matrix too (`skip`)."""
    blocks = []
    for layer in net.layers:
        mlp, wide = layer.layer, torch.eye(layer.layer.in_layer.in_features, dtype=torch.float64)
        if mlp.if_batch_normalized:
            raise SystemExit("the part batch normalisation of this model has no counterpart in jaxepi")
        width = mlp.out_layer.out_features
        pool = torch.nn.functional.interpolate if len(wide) < width else torch.nn.functional.adaptive_avg_pool1d
        skip = wide if len(wide) == width else pool(wide.unsqueeze(1), width).squeeze(1)
        parts = {
            "w0": mlp.in_layer.weight,
            "b0": mlp.in_layer.bias,
            "w1": mlp.out_layer.weight,
            "b1": mlp.out_layer.bias,
        }
        blocks.append({name: value.detach().double().tolist() for name, value in (*parts.items(), ("skip", skip.T))})
    last = getattr(net.out_layer, "linear", net.out_layer)
    layers = [last] if isinstance(last, torch.nn.Linear) else [last.in_layer, last.out_layer]
    return {
        "blocks": blocks,
        "last": [{"w": x.weight.detach().double().tolist(), "b": x.bias.detach().double().tolist()} for x in layers],
    }


def _environment(model: torch.nn.Module) -> dict:
    """How surroundings scale energies and integrals, with jaxepi's names of shells."""
    nnenv, mapper = model.nnenv, model.nnsk.idp_sk
    descriptor = nnenv.embedding.descriptor

    def shell(full: str) -> str:
        return full[1:] + "*" * (int(full[0]) - 1)

    if not all(mapper.mask_diag):
        raise SystemExit(
            "the part embedding of a model with two shells of one angular momentum has no counterpart in jaxepi"
        )
    bonds = {}
    for pair, place in mapper.orbpair_maps.items():
        a, b = pair.split("-")
        bonds |= {
            place.start + i: f"{shell(a)}-{shell(b)}:{name}"
            for i, name in enumerate(("sigma", "pi", "delta")[: place.stop - place.start])
        }
    energies = {place.start: shell(pair.split("-")[0]) for pair, place in mapper.skonsite_maps.items()}
    radial, predicted = model.model_options["embedding"]["radial_net"], model.model_options["prediction"]
    if radial["activation"] != predicted["activation"]:
        raise SystemExit(
            "the part embedding has another activation than prediction, which has no counterpart in jaxepi"
        )
    return {
        "inner": float(descriptor.rs),
        "outer": float(descriptor.rc),
        "axes": int(descriptor.n_axis),
        "activation": predicted["activation"],
        "shells": [energies[i] for i in sorted(energies)],
        "bonds": [bonds[i] for i in sorted(bonds)],
        "radial": _network(descriptor.embedding_net),
        "energies": _network(nnenv.node_prediction_h),
        "integrals": _network(nnenv.edge_prediction_h),
    }


def exported(model: NNSK, electrons: dict[str, float] | None = None) -> dict:
    """The model as JSON of version 2, complete; that of a model with surroundings has a table `environment` more."""
    if hasattr(model, "nnenv"):
        return {**exported(model.nnsk, electrons), "environment": _environment(model)}
    options = {
        name: dict(held or {}) for name, held in (("hopping", model.hopping_options), ("onsite", model.onsite_options))
    }
    radius = model.atomic_radius
    params: dict = {"hopping": _integrals(model, model.hopping_param.detach()), "onsite": {}}
    if model.onsite_options["method"] == "strain":
        params["onsite"] = _strain(model)
    elif model.onsite_param is not None:
        params["onsite"] = _on_atoms(model, model.onsite_param.detach())
    if hasattr(model, "overlap_param"):
        params["overlap"] = _integrals(model, model.overlap_param.detach())
        params["overlap_factor"] = float(model.ovp_factor)
        if not all(model.idp_sk.mask_diag):
            params["overlaponsite"] = _on_atoms(model, model.overlaponsite_param.detach(), same=False)
    if getattr(model, "soc_param", None) is not None:
        mapper = model.idp_sk
        params["soc"] = {
            f"{symbol}-{name}-0": _values(model.soc_param.detach()[line, mapper.sksoc_maps[full]])
            for symbol, line in mapper.chemical_symbol_to_type.items()
            for name, full in mapper.basis_to_full_basis[symbol].items()
        }
    return {
        "version": 2,
        "unit": "eV",
        "common_options": {"basis": model.basis, "overlap": "overlap" in params, "dtype": "float64", "device": "cpu"},
        "model_options": {
            "nnsk": {
                **options, "soc": dict(model.soc_options or {}), "atomic_radius": radius,
                "freeze": False, "push": False, "std": 0.01,
            }
        },
        "model_params": params,
        **({"electrons": electrons} if electrons else {}),
    }  # fmt: skip


def main() -> None:
    """Read, convert, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("output", help="ends in .json")
    parser.add_argument("--options", help="training input, for JSON of version 1")
    parser.add_argument("--electrons", nargs="*", default=[], metavar="Si=4", help="valence electrons of elements")
    arguments = parser.parse_args()
    if Path(arguments.output).exists():
        raise SystemExit(f"{arguments.output} exists; choose another name")
    electrons = {}
    for text in arguments.electrons:
        symbol, _, number = text.partition("=")
        try:
            electrons[symbol] = float(number)
        except ValueError:
            raise SystemExit(f"--electrons {text}: give them as Si=4") from None
    found = exported(model_of(arguments.checkpoint, arguments.options), electrons)
    Path(arguments.output).write_text(json.dumps(found, indent=1) + "\n")
    print(f"{arguments.output}: jaxepi bands CRYSTAL --hamiltonian {arguments.output}")


if __name__ == "__main__":
    sys.exit(main())
