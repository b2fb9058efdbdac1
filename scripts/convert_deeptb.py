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
    if others or "nnsk" not in held["model_options"]:
        part = others[0] if others else "nnsk (missing)"
        method = (held["model_options"].get(part) or {}).get("method", "")
        raise SystemExit(
            f"{path}: the part {part} {method} of this model has no counterpart in jaxepi; Slater-Koster models (nnsk alone) "
            "have one"
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


def exported(model: NNSK, electrons: dict[str, float] | None = None) -> dict:
    """The model as JSON of version 2, complete."""
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
