"""The one exception for input that cannot be used. Its message names the value and the remedy."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that jaxepi refuses; the command line prints the message and exits with status 2."""


def refuse_unknown(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse keys that are not known.

    Args:
        where: begins the message.

    Raises:
        InputError: names the key and the nearest known one, or all.
    """
    names = list(known)
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
            raise InputError(f"{where}: unknown key {key!r}; {hint}")
