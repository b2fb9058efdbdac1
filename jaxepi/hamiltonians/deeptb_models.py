"""Slater-Koster models of DeePTB (version 2 of its JSON), put into the format of parameter files.

Flows in: the content of a JSON file that DeePTB or `scripts/convert_deeptb.py` wrote. Flows out: the content of a parameter
file with the law "enveloped", which all laws of DeePTB 2.2 are cases of (Gu et al., Nat. Commun. 15, 6772 (2024)).

DeePTB's H(k) is P H(k)* P of this package, with P = (-1)^l of each orbital: it sums exp(-ik.r), with the odd integrals'
signs turned. On-site blocks ("strain") have no phase, so that there the signs of odd integrals are the ones that turn.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ase.data import atomic_numbers, chemical_symbols

from jaxepi import schema
from jaxepi.errors import InputError, refuse_unknown, shown
from jaxepi.hamiltonians import free_atoms
from jaxepi.hamiltonians.basis import SHELLS
from jaxepi.hamiltonians.deeptb_laws import LAWS, ends, nrl_overlap
from jaxepi.hamiltonians.two_centre import BONDS

CONVERTER = "python scripts/convert_deeptb.py FILE model.json, beside dptb"

SKIN = 1.0
"""Angstrom, of the graph: bonds end at their own reach."""

_NUMBERS = schema.List(schema.Number(-1e12, 1e12), 1, 6)
_PARAMETERS = schema.Entries(_NUMBERS)
_RANGE = schema.Number(0.1, 50, "angstrom")
MODEL = schema.Table(
    {
        "version": schema.Number(whole=True),
        "unit": schema.Text(("eV",)),
        "model_options": schema.Table({}, others=True),
        "common_options": schema.Table(
            {"basis": schema.Entries(schema.List(schema.Text()), tuple(chemical_symbols[1:]), 1)},
            {"overlap": schema.Flag()},
            others=True,
        ),
        "model_params": schema.Table(
            {"hopping": _PARAMETERS},
            {
                **dict.fromkeys(("onsite", "overlap", "overlaponsite", "soc"), schema.Maybe(_PARAMETERS)),
                "overlap_factor": schema.Number(0, 1),
            },
        ),
    },
    {
        "electrons": schema.Entries(schema.Number(0, 100), tuple(chemical_symbols[1:])),
        "environment": schema.Table({"outer": _RANGE}, others=True),
    },
    others=True,
)
"""What is read of a model."""


ONSITE = ("none", "uniform", "uniform_noref", "strain", "NRL")
SPIN_ORBIT = ("none", "uniform", "uniform_noref")


def recognised(data: Any) -> bool:
    """Whether this is the content of a model of DeePTB, of any version."""
    return isinstance(data, Mapping) and "format" not in data and ({"model_params", "hopping"} & set(data)) != set()


class _Model(NamedTuple):
    """A model whose options have been checked: `shells` are names in the file -> here, an element."""

    where: str
    options: Mapping[str, Any]
    numbers: Mapping[str, Any]
    shells: dict[str, dict[str, str]]
    law: str

    def lengths(self, first: str, second: str) -> dict[str, float]:
        """Where the hoppings of two elements end."""
        return ends(self.options["hopping"], self.law, self._start(first, second), self.where)

    def _start(self, first: str, second: str) -> float:
        """`rs`, of all, of elements, or of pairs."""
        start = self.options["hopping"]["rs"]
        if not isinstance(start, Mapping):
            return float(start)
        pairs = [start[name] for name in dict.fromkeys((f"{first}-{second}", f"{second}-{first}")) if name in start]
        if not pairs and {first, second} <= set(start):
            pairs = [start[first], start[second]]
        if not pairs:
            raise InputError(f"{self.where}: hopping.rs has no length for {first}-{second}; give one")
        return sum(pairs) / len(pairs)


def translated(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The content of a parameter file that says what this model of DeePTB says.

    Args:
        where: its file, for messages.

    Raises:
        InputError: a version, a part or an option that is not represented here (by name), numbers that are missing or
            belong to no shell.
    """
    model = _checked(data, where)
    symbols = sorted(model.shells, key=atomic_numbers.__getitem__)
    overlap = bool(data["common_options"].get("overlap", False))
    if overlap != (model.numbers.get("overlap") is not None):
        raise InputError(f"{where}: overlap is {overlap}, which its model_params do not fit; export the model again")
    pairs = []
    for i, first in enumerate(symbols):
        for second in symbols[i:]:
            pair: dict[str, Any] = {"species": [first, second], "shared": model.lengths(first, second)}
            pair["hopping"] = _integrals(model, "hopping", first, second)
            if overlap:
                pair["overlap"] = _integrals(model, "overlap", first, second)
            pairs.append(pair)
    environment, parameters = _environment(model)
    reach = [pair["shared"]["reach"] for pair in pairs] + [
        held["shared"]["reach"] for held in parameters.get("bonds", [])
    ]
    surroundings = {"environment": data["environment"]} if "environment" in data else {}
    cutoff = max([*reach, parameters.get("switch", 0.0), surroundings.get("environment", {}).get("outer", 0.0)])
    given = data.get("electrons", {})
    refuse_unknown(given, symbols, f"{where}, electrons")
    return {
        "format": "jaxepi-slater-koster",
        "version": 1,
        "name": Path(where).stem,
        "citation": f"model {Path(where).name} of DeePTB (Gu et al., Nat. Commun. 15, 6772 (2024))",
        "species": {symbol: _species(model, symbol, given.get(symbol)) for symbol in symbols},
        "law": "enveloped",
        "cutoff": cutoff,
        "skin": SKIN,
        "pairs": pairs,
        "onsite_model": environment,
        **({"onsite_parameters": parameters} if parameters else {}),
        **surroundings,
    }


def _checked(data: Mapping[str, Any], where: str) -> _Model:
    """The parts of a model, none of which is unknown."""
    if "model_options" not in data or data.get("version") != 2:
        raise InputError(
            f"{where}: a model of DeePTB of version {shown(data.get('version'))}, which does not hold its law and cutoffs; "
            f"write version 2 (with --options input.json: {CONVERTER})"
        )
    MODEL.check(data, where, "")
    options = data["model_options"]
    others = sorted(set(options) - {"nnsk"})
    if others or "nnsk" not in options:
        part = others[0] if others else "nnsk"
        kind = (options.get(part) or {}).get("method", "")
        raise InputError(
            f"{where}: the part {part!r}{f' ({kind})' if kind else ''} of this model of DeePTB "
            f"{'is missing' if part == 'nnsk' else 'is not represented here'}: Slater-Koster models (nnsk) are, and those with "
            f"the embedding se2 once converted ({CONVERTER})"
        )
    nnsk = options["nnsk"]
    number: dict[str, schema.Kind] = {"rs": schema.Anything(), "w": schema.Number(1e-3, 10, "angstrom")}
    key = "model_options.nnsk"
    schema.Table(
        {
            "hopping": schema.Table({"method": schema.Text(tuple(LAWS)), **number}, others=True),
            "onsite": schema.Table({"method": schema.Text(ONSITE)}, others=True),
        },
        {
            "soc": schema.Maybe(schema.Table({}, {"method": schema.Maybe(schema.Text(SPIN_ORBIT))}, others=True)),
            "atomic_radius": schema.Text(("v1", "cov")),
        },
        others=True,
    ).check(nnsk, where, key)
    start = nnsk["hopping"]["rs"]
    (schema.Entries(_RANGE, least=1) if isinstance(start, Mapping) else _RANGE).check(start, where, f"{key}.hopping.rs")
    if nnsk["onsite"]["method"] in ("strain", "NRL"):
        need = schema.Table({"rs": _RANGE, "w": number["w"]}, {"lda": schema.Number(0, 100)}, others=True)
        need.check(nnsk["onsite"], where, f"{key}.onsite")
    _refuse_overlap_on_an_atom(data["model_params"], where)
    shells = {symbol: _shells(names, f"{where}: basis.{symbol}") for symbol, names in _basis(data).items()}
    return _Model(where, nnsk, data["model_params"], shells, nnsk["hopping"]["method"])


def _basis(data: Mapping[str, Any]) -> Mapping[str, list[str]]:
    return data["common_options"]["basis"]


def _refuse_overlap_on_an_atom(numbers: Mapping[str, Any], where: str) -> None:
    found = next((name for name, value in (numbers.get("overlaponsite") or {}).items() if any(value)), None)
    if found:
        raise InputError(
            f"{where}: the part 'overlaponsite' ({found}) of this model of DeePTB is not represented here: shells of one atom "
            "are orthogonal"
        )


def _shells(names: list[str], where: str) -> dict[str, str]:
    """Names of shells in the file -> here, in DeePTB's order: by angular momentum, a star before principal numbers."""
    letters = {}
    for name in names:
        found = re.fullmatch(r"[0-9]*([a-z])\*?", name)
        if found is None or found.group(1) not in "spd":
            raise InputError(f"{where}: the shell {name!r} is not represented here; s, p and d are")
        letters[name] = found.group(1)
    if len(letters) < len(names):
        raise InputError(f"{where} names a shell twice; name each once")
    marks = {name: (re.findall(r"[1-9*]", name) or ["0"])[0] for name in names}
    ordered = sorted(names, key=lambda name: ("spd".index(letters[name]), marks[name]))
    seen: dict[str, int] = {}
    out = {}
    for name in ordered:
        letter = letters[name]
        out[name] = letter + "*" * seen.get(letter, 0)
        seen[letter] = seen.get(letter, 0) + 1
    return out


def _radius(model: _Model, symbol: str) -> float:
    """Angstrom, what DeePTB takes for the radius of an atom."""
    found = free_atoms.radius(symbol, model.options.get("atomic_radius", "v1") == "cov")
    if found is None:
        raise InputError(f"{model.where}: atomic_radius v1 is not known of {symbol}; use cov")
    return found


def _integrals(model: _Model, kind: str, first: str, second: str) -> dict[str, dict[str, float]]:
    """Law parameters of the integrals of two elements; of one element, those with the first shell not after the second."""
    numbers = model.numbers[kind]
    radius = _radius(model, first) + _radius(model, second)
    factor = float(model.numbers.get("overlap_factor", 1.0)) if kind == "overlap" else 1.0
    out = {}
    here = list(model.shells[first])
    for a, own in model.shells[first].items():
        for b, other in model.shells[second].items():
            if first == second and here.index(b) < here.index(a):
                continue
            for i, bond in enumerate(BONDS[: min(SHELLS[own][0], SHELLS[other][0]) + 1]):
                names = dict.fromkeys((f"{first}-{second}-{a}-{b}-{i}", f"{second}-{first}-{b}-{a}-{i}"))
                found = [numbers[name] for name in names if name in numbers]
                if not found or any(value != found[0] for value in found):
                    what = "is missing" if not found else "stands there twice, with other numbers"
                    raise InputError(f"{model.where}: {kind} {next(iter(names))} {what}; export the model again")
                values = _parameters(model, found[0], radius, f"{kind} {next(iter(names))}", kind)
                if kind == "overlap" and model.law == "NRL1":
                    values["c0"] = float(first == second and own == other)
                out[f"{own}-{other}:{bond}"] = {
                    name: factor * value if name in ("c0", "c1", "c2", "c3", "c4") else value
                    for name, value in values.items()
                }
    return out


def _parameters(model: _Model, held: list[float], radius: float, name: str, kind: str) -> dict[str, float]:
    law = LAWS[model.law]
    if len(held) != law.numbers:
        raise InputError(f"{model.where}: {name} has {len(held)} numbers; the law {model.law} has {law.numbers}")
    return (nrl_overlap if kind == "overlap" and model.law == "NRL1" else law.parameters)(held, radius)


def _environment(model: _Model) -> tuple[str, dict[str, Any]]:
    """On-site model and its parameters."""
    options = model.options["onsite"]
    if options["method"] == "NRL":
        width = float(options["w"])
        return "density", {
            "decay": float(options.get("lda", 1.0)),
            "switch": float(options["rs"]),
            "width": width,
            "coefficients": {},
        }
    if options["method"] != "strain":
        return "constant", {}
    shared = ends(options, model.law, float(options["rs"]), model.where)
    entries = [
        {"species": [a, b], "shared": shared, "integrals": _strain(model, a, b)}
        for a in model.shells
        for b in model.shells
    ]
    return "bonds", {"bonds": entries}


def _strain(model: _Model, atom: str, neighbour: str) -> dict[str, dict[str, float]]:
    """Law parameters of the block that a neighbour adds to an atom, between the shells of the atom."""
    numbers = model.numbers.get("onsite") or {}
    radius = _radius(model, atom) + _radius(model, neighbour)
    names, out = list(model.shells[atom].items()), {}
    for i, (a, own) in enumerate(names):
        for b, other in names[i:]:
            sign = (-1.0) ** (SHELLS[own][0] + SHELLS[other][0])
            for n, bond in enumerate(BONDS[: min(SHELLS[own][0], SHELLS[other][0]) + 1]):
                known = (f"{atom}-{neighbour}-{a}-{b}-{n}", f"{atom}-{neighbour}-{b}-{a}-{n}")
                found = next((numbers[name] for name in known if name in numbers), None)
                if found is None:
                    raise InputError(f"{model.where}: onsite {known[0]} is missing; export the model again")
                values = _parameters(model, found, radius, f"onsite {known[0]}", "onsite")
                out[f"{own}-{other}:{bond}"] = {k: sign * v if k[0] == "c" else v for k, v in values.items()}
    return out


def _species(model: _Model, symbol: str, electrons: float | int | None) -> dict[str, Any]:
    """Shells, energies and couplings of an element."""
    method, shells = model.options["onsite"]["method"], model.shells[symbol]
    numbers = model.numbers.get("onsite") or {}
    base = dict.fromkeys(shells, 0.0) if method in ("uniform_noref", "NRL") else _free(model, symbol)
    out: dict[str, Any] = {"shells": list(shells.values())}
    if method in ("uniform", "uniform_noref"):
        held = {name: _one(model, numbers, f"{symbol}-{name}-0", "onsite") for name in shells}
        base = {name: base[name] + held[name] for name in shells}
        mixed = {
            f"{own}-{other}": float(numbers[f"{symbol}-{a}-{b}-0"][0])
            for a, own in shells.items()
            for b, other in shells.items()
            if f"{symbol}-{a}-{b}-0" in numbers and a != b
        }
        out |= {"mixing": mixed} if mixed else {}
    if method == "NRL":
        out["density"] = {own: _four(model, numbers, f"{symbol}-{name}-0") for name, own in shells.items()}
    out["onsite"] = {} if method == "NRL" else {own: base[name] for name, own in shells.items()}
    found = electrons if electrons is not None else free_atoms.valence(symbol, list(shells))
    out |= {"electrons": float(found)} if found is not None else {}
    soc = (model.options.get("soc") or {}).get("method")
    if soc in ("uniform", "uniform_noref"):
        strengths = model.numbers.get("soc") or {}
        couplings = {name: own for name, own in shells.items() if own[0] != "s"}
        out["spin_orbit"] = {
            own: 0.5 * abs(_one(model, strengths, f"{symbol}-{name}-0", "soc")) for name, own in couplings.items()
        }
    return out


def _one(model: _Model, numbers: Mapping[str, list[float]], name: str, kind: str) -> float:
    if name not in numbers or len(numbers[name]) != 1:
        raise InputError(f"{model.where}: {kind} {name} is missing, or not one number; export the model again")
    return float(numbers[name][0])


def _four(model: _Model, numbers: Mapping[str, list[float]], name: str) -> list[float]:
    if name not in numbers or len(numbers[name]) != 4:
        raise InputError(f"{model.where}: onsite {name} is missing, or not four numbers; export the model again")
    return [float(value) for value in numbers[name]]


def _free(model: _Model, symbol: str) -> dict[str, float]:
    """Energies of the free atom that on-site energies are counted from, eV."""
    known = free_atoms.energies(symbol)
    missing = next((name for name in model.shells[symbol] if name not in known), None)
    if missing:
        raise InputError(
            f"{model.where}: the shell {missing} of {symbol} has no energy of the free atom; known are "
            f"{', '.join(known) or 'none of this element'}"
        )
    return {name: known[name] for name in model.shells[symbol]}
