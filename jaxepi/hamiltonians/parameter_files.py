"""Parameter files of Slater-Koster sets: JSON in the format of `parameters/README.md`, shipped or a user's own; models of
DeePTB are put into that format (`deeptb_models`)."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from jaxepi import schema
from jaxepi.errors import InputError, refuse_unknown, shown
from jaxepi.guards import constant
from jaxepi.hamiltonians import deeptb_models, environment, onsite
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.basis import SHELLS, Basis
from jaxepi.hamiltonians.laws import LAWS
from jaxepi.hamiltonians.slater_koster import SlaterKoster
from jaxepi.hamiltonians.two_centre import BONDS

FORMAT, VERSION = "jaxepi-slater-koster", 1

LARGEST = 1e4
"""eV: no integral is larger at the length of a bond."""

ENERGY = schema.Number(-1e5, 1e5, "eV")
RANGES = {
    "exponent": schema.Number(-50, 50),
    "decay": schema.Number(-100, 100),
    "length": schema.Number(0.1, 50, "angstrom"),
    "switch": schema.Number(0.1, 50, "angstrom"),
    "width": schema.Number(1e-3, 50, "angstrom"),
    "origin": schema.Number(0, 50, "angstrom"),
    "stretch": schema.Number(0, 50),
    "reach": schema.Number(0.1, 50, "angstrom"),
}
"""Ranges of numbers by name; others may have any size that a file of numbers has."""

HEAD = schema.Table(
    {
        "format": schema.Text(),
        "version": schema.Number(whole=True),
        "name": schema.Text(),
        "citation": schema.Text(),
        "species": schema.Entries(
            schema.Table(
                {
                    "shells": schema.List(schema.Text()),
                    "onsite": schema.Entries(ENERGY),
                },
                {
                    "electrons": schema.Number(0, 100),
                    "spin_orbit": schema.Entries(schema.Number(-10, 10, "eV")),
                    "mixing": schema.Entries(ENERGY),
                    "density": schema.Entries(schema.List(schema.Number(), 4, 4)),
                },
            ),
            tuple(chemical_symbols[1:]),
            least=1,
        ),
        "law": schema.Text(tuple(LAWS)),
        "cutoff": schema.Number(0.1, 30, "angstrom"),
        "skin": schema.Number(0, 10, "angstrom"),
        "pairs": schema.List(
            schema.Table(
                {"species": schema.List(schema.Text(), 2, 2), "hopping": schema.Entries(schema.Anything(), least=1)},
                {name: schema.Entries(schema.Anything()) for name in ("shared", "overlap", "C")},
            )
        ),
        "onsite_model": schema.Text(tuple(onsite.MODELS)),
    },
    {
        "read_from": schema.Text(),
        "lattice_constant": schema.Number(0.1, 100, "angstrom"),
        "note": schema.Text(),
        "onsite_parameters": schema.Entries(schema.Anything()),
        "environment": schema.Table({}, others=True),
    },
)
"""What a parameter file holds, but for what depends on its shells and law."""

ENDING = ".json"
SHIPPED = Path(__file__).parent / "parameters"


def sets() -> list[str]:
    """Names of the shipped parameter sets."""
    return sorted(file.stem for file in SHIPPED.glob(f"*{ENDING}"))


def read(name_or_path: str | Path) -> dict:
    """The contents of a parameter file, by shipped name or path.

    Raises:
        InputError: an unknown name, an unreadable file, or a file of another format or version.
    """
    text = str(name_or_path)
    source = Path(text) if text.endswith(ENDING) else SHIPPED / f"{text}{ENDING}"
    if not source.is_file():
        raise InputError(f"no Slater-Koster set {text!r}; shipped are {', '.join(sets())}, or give a {ENDING} file")
    data = schema.read(source, "parameter file")
    if deeptb_models.recognised(data):
        data = deeptb_models.translated(data, text)
        check(data, text, sizes=False)
    elif source.parent != SHIPPED:  # which a test checks
        check(data, text)
    return data


def check(data: Any, where: str, sizes: bool = True) -> None:
    """Refuse what is not the content of a parameter file.

    Args:
        where: the file, for the message. sizes: whether integrals must have those of bonds; a trained model has its own.

    Raises:
        InputError: another format or version, a key that is missing, unknown or of another type, numbers out of range, or
            integrals of shells or elements that the set does not have.
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, Mapping) else data
        raise InputError(f"{where} has format {shown(found)}; expected {FORMAT!r}")
    if data.get("version") != VERSION or isinstance(data["version"], bool):
        raise InputError(f"{where} has version {shown(data.get('version'))}; this jaxepi reads version {VERSION}")
    HEAD.check(data, where, "")
    shells = {}
    for symbol, entry in data["species"].items():
        held = tuple(entry["shells"])
        if len(set(held)) < len(held):
            raise InputError(f"{where}: species.{symbol}.shells names a shell twice; name each once")
        widths = [len(SHELLS[shell][1]) for shell in held if _known(shell, f"{where}: species.{symbol}.shells")]
        schema.Number(0, 2 * sum(widths), "electrons in these shells").check(
            entry.get("electrons", 0), where, f"species.{symbol}.electrons"
        )
        for key, names in (
            ("spin_orbit", [shell for shell in held if SHELLS[shell][0] > 0]),
            ("mixing", [f"{a}-{b}" for a, b in itertools.permutations(held, 2) if SHELLS[a] == SHELLS[b]]),
            ("density", held if data["onsite_model"] == "density" else []),
        ):
            refuse_unknown(entry.get(key, {}), names, f"{where}, species.{symbol}.{key}")
        energies = dict.fromkeys(held, ENERGY)  # which a density gives in their place
        form = schema.Table({}, energies) if data["onsite_model"] == "density" else schema.Table(energies)
        form.check(entry["onsite"], where, f"species.{symbol}.onsite")
        shells[symbol] = held
    for i, pair in enumerate(data["pairs"]):
        _check_pair(pair, shells, data, where, f"pairs[{i}]")
        for kind in ("hopping", "overlap") if sizes else ():
            if kind in pair:
                _check_sizes(pair, kind, data, where, f"pairs[{i}].{kind}")
    seen = [frozenset(pair["species"]) for pair in data["pairs"]]
    twice = next((sorted(s) for s in seen if seen.count(s) > 1), None)
    if twice:
        raise InputError(f"{where}: the pair {'-'.join(twice * (3 - len(twice)))} stands twice in pairs; give it once")
    if len({"overlap" in pair for pair in data["pairs"]}) > 1:
        raise InputError(f"{where}: some pairs have an overlap and others none; give it to all or none")
    _check_onsite(data, shells, where)
    if "environment" in data:
        _check_environment(data, shells, where)


def _check_environment(data: Any, shells: dict[str, tuple[str, ...]], where: str) -> None:
    """Refuse surroundings that do not belong to the shells, or that go with nothing else in the set."""
    mixed = any("mixing" in entry for entry in data["species"].values())
    if mixed or data["onsite_model"] not in ("constant", "bonds"):
        raise InputError(
            f"{where}: environment goes with the on-site models constant and bonds, and without mixing of shells"
        )
    fixed, _ = environment.build(data["environment"], len(shells), where)
    needed = {shell for names in shells.values() for shell in names}
    needed |= {name for pair in data["pairs"] for name in pair["hopping"]}
    known = {*fixed.shells, *fixed.bonds, *map(environment.turned, fixed.bonds)}
    if needed - known:
        raise InputError(f"{where}: environment has no factor of {min(needed - known)}; give it in shells or bonds")
    if fixed.outer > data["cutoff"]:
        raise InputError(
            f"{where}: environment reaches to {fixed.outer:g} angstrom, beyond cutoff; give a longer cutoff"
        )


def _known(shell: str, where: str) -> bool:
    try:
        return SHELLS[shell] is not None
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _check_pair(pair: Mapping[str, Any], shells: dict[str, tuple[str, ...]], data: Any, where: str, key: str) -> None:
    """Refuse a pair whose integrals do not belong to its shells, or lack parameters of the law."""
    schema.List(schema.Text(tuple(shells)), 2, 2).check(pair["species"], where, f"{key}.species")
    ends = (shells[pair["species"][0]], shells[pair["species"][1]])
    for kind in ("hopping", "overlap"):
        if kind in pair:
            _check_integrals(pair, kind, ends, data["law"], where, key)


def _check_integrals(
    held: Mapping[str, Any], kind: str, ends: tuple[tuple[str, ...], tuple[str, ...]], law: str, where: str, key: str
) -> None:
    """Refuse integrals of other shells than the `ends` have, or that lack parameters of the law."""
    names = [
        f"{a}-{b}:{bond}" for a in ends[0] for b in ends[1] for bond in BONDS[: min(SHELLS[a][0], SHELLS[b][0]) + 1]
    ]
    numbers = {name: RANGES.get(name, schema.Number()) for name in LAWS[law].neutral}
    shared = held.get("shared", {})
    schema.Table({}, numbers).check(shared, where, f"{key}.shared")
    schema.Entries(schema.Table({}, numbers), tuple(names), 1).check(held[kind], where, f"{key}.{kind}")
    for name, values in held[kind].items():
        lacking = sorted(set(numbers) - set(values) - set(shared))
        if lacking:
            raise InputError(f"{where}: {key}.{kind}.{name} lacks {', '.join(lacking)}; give it there or in shared")


def _check_sizes(pair: Mapping[str, Any], kind: str, data: Any, where: str, key: str) -> None:
    """Refuse integrals that are absurd at the lengths of bonds, and bonds that the cutoff leaves out."""
    integrals = [{**pair.get("shared", {}), **values} for values in pair[kind].values()]
    own = np if data["law"] == "power" else jnp  # arithmetic alone; nothing is compiled for it
    values = {name: own.array([[float(held[name])] for held in integrals]) for name in integrals[0]}
    length, cutoff = values.get("length", np.array([[0.5 * data["cutoff"]]])), data["cutoff"]
    if data["law"] == "power" and length.max() > cutoff:
        raise InputError(
            f"{where}: {key} is given for bonds of {length.max():g} angstrom, which cutoff = {cutoff:g} leaves out; give a "
            "longer cutoff"
        )
    nearest = np.minimum(0.8 * np.asarray(length), cutoff)
    distance = own.asarray(nearest + np.linspace(0, 1, 20) * (cutoff - nearest))
    with np.errstate(all="ignore"):
        found = np.nan_to_num(np.abs(np.asarray(LAWS[data["law"]].function(distance, **values))), nan=np.inf)
    if found.max() > LARGEST:
        raise InputError(f"{where}: {key} reaches {found.max():.3g} at the lengths of bonds; check its numbers")


def _check_onsite(data: Any, shells: dict[str, tuple[str, ...]], where: str) -> None:
    """Refuse on-site parameters of another form than the model has."""
    every = tuple(dict.fromkeys(shell for names in shells.values() for shell in names))
    model, key = data["onsite_model"], "onsite_parameters"
    if model == "constant":
        schema.Table({}).check(data.get(key, {}), where, key)
        return
    lacking = sorted({"niquet": {"s", "p", "d", "s*"}}.get(model, set()) - set(every))
    if lacking:
        raise InputError(f"{where}: onsite_model {model!r} needs the shell {lacking[0]}; use 'constant', or add it")
    forms: dict[str, dict[str, schema.Kind]] = {
        "niquet": {
            "alpha": schema.Table(dict.fromkeys(every, ENERGY)),
            "length": RANGES["length"],
            "beta": schema.Table(dict.fromkeys(("p0", "p1", "pd0", "pd1", "d0", "sp0", "Sp0", "sd0", "Sd0"), ENERGY)),
        },
        "density": {
            **{name: RANGES[name] for name in ("decay", "switch", "width")},
            "coefficients": schema.Table({}, {shell: schema.List(schema.Number(), 4, 4) for shell in every}),
        },
        "bonds": {
            "bonds": schema.List(
                schema.Table(
                    {
                        "species": schema.List(schema.Text(tuple(shells)), 2, 2),
                        "integrals": schema.Entries(schema.Anything(), least=1),
                    },
                    {"shared": schema.Anything()},
                )
            )
        },
        "boykin": {"shift": ENERGY, "strength": schema.Number(-100, 100)},
    }
    schema.Table({key: schema.Table(forms[model])}, others=True).check(data, where, "")
    for i, entry in enumerate(data[key]["bonds"] if model == "bonds" else ()):
        ends = (shells[entry["species"][0]], shells[entry["species"][0]])
        _check_integrals(entry, "integrals", ends, data["law"], where, f"{key}.bonds[{i}]")
    for symbol, held in shells.items() if model == "density" else ():
        given = {**data[key]["coefficients"], **data["species"][symbol].get("density", {})}
        lacking = [shell for shell in held if shell not in given]
        if lacking:
            raise InputError(
                f"{where}: species {symbol} has no density coefficients for its shell {lacking[0]}; give them in "
                f"species.{symbol}.density, or for all species in {key}.coefficients"
            )
    for i, pair in enumerate(data["pairs"] if model == "boykin" else ()):
        names = tuple(f"{a}-{b}" for a in every for b in every)
        own: dict[str, schema.Kind] = {
            "C": schema.Entries(schema.Number(-100, 100), names),
            "shared": schema.Table({"length": RANGES["length"]}),
        }
        schema.Table(own, others=True).check(pair, where, f"pairs[{i}]")


def load(name_or_path: str | Path, spin_orbit: bool = False) -> Hamiltonian:
    """The Hamiltonian of a parameter set.

    Args:
        spin_orbit: use the spinor basis with the set's spin-orbit couplings.

    Raises:
        InputError: see `read`; also a set without spin-orbit couplings when they are asked for.
    """
    module, params = build(read(name_or_path), spin_orbit)
    return Hamiltonian(params, module)


def build(data: dict, spin_orbit: bool = False) -> tuple[SlaterKoster, dict[str, Any]]:
    """Module and parameters of the contents of a parameter file.

    Raises:
        InputError: a set without spin-orbit couplings when they are asked for.
    """
    symbols = list(data["species"])
    numbers = [atomic_numbers[s] for s in symbols]
    shells = tuple((z, tuple(data["species"][s]["shells"])) for z, s in zip(numbers, symbols, strict=True))
    species = [data["species"][symbol] for symbol in symbols]
    electrons = tuple((z, float(s["electrons"])) for z, s in zip(numbers, species, strict=True) if "electrons" in s)
    basis = Basis(shells, electrons)
    hopping = _tables(data, symbols, "hopping")
    params: dict[str, Any] = {"hopping": hopping, "onsite": _onsite_energies(data, symbols, basis)}
    if any("overlap" in pair for pair in data["pairs"]):
        params["overlap"] = _tables(data, symbols, "overlap")
    surroundings = None
    if "environment" in data:
        surroundings, params["environment"] = environment.build(data["environment"], len(symbols), data["name"])
    params |= _onsite_parameters(data, symbols, basis) | _mixing(data, symbols, basis)
    couplings = [tuple(float(s.get("spin_orbit", {}).get(shell, 0.0)) for shell in basis.all_shells) for s in species]
    module = SlaterKoster(
        basis=basis,
        integrals=tuple(sorted(hopping)),
        law=data["law"],
        onsite=data["onsite_model"],
        overlap="overlap" in params,
        cutoff=float(data["cutoff"]),
        skin=float(data["skin"]),
        couplings=tuple(couplings) if any(any(row) for row in couplings) else (),
        environment=surroundings,
        name=data["name"],
        citation=data["citation"],
    )
    params = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, float) else constant(x), params)  # floats are weak
    return module.with_spin_orbit(params) if spin_orbit else (module, params)


def _tables(data: dict, symbols: list[str], kind: str) -> dict[str, dict[str, np.ndarray]]:
    """Law parameters by integral, as (species, species) arrays; the reversed pair is filled in."""
    count, tables = len(symbols), {}
    neutral = LAWS[data["law"]].neutral
    for pair in data["pairs"]:
        i, j = (symbols.index(s) for s in pair["species"])
        shared = pair.get("shared", {})
        for name, values in pair[kind].items():
            shells, bond = name.split(":")
            a, b = shells.split("-")
            for integral, p, q in ((f"{a}-{b}:{bond}", i, j), (f"{b}-{a}:{bond}", j, i)):
                if integral not in tables:
                    tables[integral] = {k: np.full((count, count), v) for k, v in neutral.items()}
                for key, value in {**shared, **values}.items():
                    tables[integral][key][p, q] = value
    return tables


def _onsite_energies(data: dict, symbols: list[str], basis: Basis) -> np.ndarray:
    """On-site energies (species, shells), eV; zero for shells that a species lacks."""
    species = [data["species"][symbol] for symbol in symbols]
    return np.array([[float(s["onsite"].get(shell, 0.0)) for shell in basis.all_shells] for s in species])


def _mixing(data: dict, symbols: list[str], basis: Basis) -> dict:
    """What couples shells of one angular momentum on an atom, eV, (species, shells, shells); nothing where none does."""
    shells = basis.all_shells
    out = np.zeros((len(symbols), len(shells), len(shells)))
    for i, symbol in enumerate(symbols):
        for name, value in data["species"][symbol].get("mixing", {}).items():
            a, b = (shells.index(shell) for shell in name.split("-"))
            out[i, a, b] = out[i, b, a] = value
    return {"mixing": out} if out.any() else {}


def _onsite_parameters(data: dict, symbols: list[str], basis: Basis) -> dict:
    """Parameters of the set's on-site model as a pytree."""
    model, values = data["onsite_model"], data.get("onsite_parameters", {})
    if model == "bonds":
        return {"bonds": _bonds(data, symbols, values["bonds"])}
    if model == "niquet":
        return {"niquet": {"alpha": values["alpha"], "length": values["length"], **values["beta"]}}
    if model == "density":
        given = [{**values["coefficients"], **data["species"][symbol].get("density", {})} for symbol in symbols]
        rows = np.array([[held.get(shell, [0.0] * 4) for shell in basis.all_shells] for held in given])
        shared = all(held == given[0] for held in given)
        return {
            "density": {
                **{k: values[k] for k in ("decay", "switch", "width")},
                "coefficients": rows[0] if shared else rows,
            }
        }
    if model == "boykin":
        return {"boykin": _boykin_parameters(data, symbols, basis, values)}
    return {}


def _bonds(data: dict, symbols: list[str], entries: list[dict]) -> dict[str, dict[str, np.ndarray]]:
    """Law parameters of on-site blocks by integral, as arrays (species of the atom, species of its neighbour)."""
    count, tables = len(symbols), dict[str, dict[str, np.ndarray]]()
    for entry in entries:
        i, j = (symbols.index(s) for s in entry["species"])
        for name, values in entry["integrals"].items():
            neutral = LAWS[data["law"]].neutral
            table = tables.setdefault(name, {k: np.full((count, count), v) for k, v in neutral.items()})
            for key, value in {**entry.get("shared", {}), **values}.items():
                table[key][i, j] = value
    return tables


def _boykin_parameters(data: dict, symbols: list[str], basis: Basis, values: dict) -> dict:
    count, shells = len(symbols), basis.all_shells
    c, length = np.zeros((count, count, len(shells), len(shells))), np.ones((count, count))
    for pair in data["pairs"]:
        i, j = (symbols.index(s) for s in pair["species"])
        length[i, j] = length[j, i] = pair["shared"]["length"]
        for name, value in pair["C"].items():
            a, b = (shells.index(shell) for shell in name.split("-"))
            c[i, j, a, b] = value
            c[j, i, b, a] = value
    return {"C": c, "length": length, "shift": values["shift"], "strength": values["strength"]}
