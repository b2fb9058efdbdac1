"""Distance laws of DeePTB 2.2 as cases of the law "enveloped" (`laws`): parameters there from parameters here.

Flows in: the parameters of an integral as a model holds them, and the sum of the radii of its atoms. Flows out: names and
values of "enveloped".
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxepi.errors import InputError


class Law(NamedTuple):
    """A distance law: how many parameters it has, those of "enveloped" from them and the sum of radii (angstrom), and where
    the Fermi function stands and what is cut off, in widths from `rs`."""

    numbers: int
    parameters: Callable[[list[float], float], dict[str, float]]
    switch: int
    reach: int


def _polynomial(scales: tuple[float, ...], tail: Callable[[float, float], dict[str, float]]) -> Law:
    """A polynomial of the length less the sum of radii, times a tail."""
    count = len(scales)

    def parameters(p: list[float], radius: float) -> dict[str, float]:
        terms = {f"c{i}": scale * p[i] for i, scale in enumerate(scales)}
        return {**terms, "origin": radius, **tail(abs(p[count]), radius)}

    return Law(count + 1, parameters, -5, 3)


def _power(exponent: float, radius: float) -> dict[str, float]:
    return {"exponent": 1 + exponent, "length": radius}


def _exponential(decay: float, radius: float) -> dict[str, float]:
    return {"decay": decay}


def _powerlaw(p: list[float], radius: float) -> dict[str, float]:
    return {"c0": p[0], **_power(abs(p[1]), radius)}


def _tang(p: list[float], radius: float) -> dict[str, float]:
    return {"c0": p[0], "exponent": abs(p[1]), "decay": abs(p[2]), "stretch": abs(p[3])}


def _nrl(p: list[float], radius: float) -> dict[str, float]:
    return {"c0": p[0], "c1": p[1], "c2": p[2], "decay": p[3] ** 2}


def nrl_overlap(p: list[float], radius: float) -> dict[str, float]:
    """Parameters of an overlap of the law NRL1, whose constant is that of the orbitals with themselves."""
    return {"c1": p[0], "c2": p[1], "c3": p[2], "decay": p[3] ** 2}


_SECOND, _THIRD, _FOURTH = (1.0, 1.0, 1.0), (1.0, 1.0, 1 / 2, 1 / 6), (1.0, 1.0, 1 / 2, 1 / 6, 1 / 8)
LAWS: dict[str, Law] = {
    "powerlaw": Law(2, _powerlaw, 0, 8),
    "varTang96": Law(4, _tang, 0, 8),
    "NRL0": Law(4, _nrl, -5, 3),
    "NRL1": Law(4, _nrl, -5, 3),
    "poly1pow": _polynomial((1.0, 1.0), _power),
    "poly2pow": _polynomial(_SECOND, _power),
    "poly3pow": _polynomial(_THIRD, _power),
    "poly4pow": _polynomial(_FOURTH, _power),
    "poly2exp": _polynomial(_SECOND, _exponential),
    "poly3exp": _polynomial(_THIRD, _exponential),
    "poly4exp": _polynomial(_FOURTH, _exponential),
}
"""Of hoppings and, but for the constant of NRL1, of overlaps."""


def ends(options: Mapping[str, Any], law: str, start: float, where: str) -> dict[str, float]:
    """Fermi function and reach (angstrom), and what the law does not use.

    Raises:
        InputError: lengths that leave no bonds.
    """
    width, own = float(options["w"]), LAWS[law]
    values = {"switch": start + own.switch * width, "width": width, "reach": start + own.reach * width}
    if values["switch"] <= 0.1:
        raise InputError(
            f"{where}: rs = {start:g} and w = {width:g} angstrom leave no bonds; give rs above {-own.switch} w"
        )
    return {
        **dict.fromkeys(("c0", "c1", "c2", "c3", "c4", "origin", "exponent", "decay"), 0.0),
        "length": 1.0,
        "stretch": 1.0,
        **values,
    }
