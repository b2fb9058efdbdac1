"""For mkdocs.yml: docstrings that say several arguments a line ("x: angstrom. k: fractional.") become one entry each.

Griffe, which reads docstrings for the API pages, calls this of every function and class; names are those of the signature or of
the class, so that no other colon is taken for one.
"""

import re
from collections.abc import Iterable
from typing import Any

import griffe

SECTION = re.compile(r"^(Args|Attributes|Raises):\n((?:    .*\n|\n)*)", re.MULTILINE)
ERROR = r"\w+Error"


def split(text: str, names: Iterable[str]) -> str:
    """A docstring whose sections have an entry a line for each of `names`, and for each error."""
    words = sorted(map(re.escape, names), key=len, reverse=True)

    def apart(found: re.Match[str]) -> str:
        known = ERROR if found[1] == "Raises" else "|".join(words)
        if not known:
            return found[0]
        body = re.sub(r"\n {8,}", " ", found[2])
        body = re.sub(rf"(?<=[.)]) +(?=(?:{known})(?:, (?:{known}))*: )", "\n    ", body)
        several = re.compile(rf"^    ((?:(?:{known}), )+(?:{known})): (.*)$", re.MULTILINE)
        body = several.sub(lambda m: "\n".join(f"    {name}: {m[2]}" for name in m[1].split(", ")), body)
        return f"{found[1]}:\n{body}"

    return SECTION.sub(apart, text + "\n")


class SplitArguments(griffe.Extension):
    """Applies `split` to every function and class that is read."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """A function: its parameters."""
        self._split(func, [p.name.lstrip("*") for p in func.parameters])

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """A class: its attributes."""
        self._split(cls, [name for name, member in cls.members.items() if member.is_attribute])

    def _split(self, thing: griffe.Object, names: list[str]) -> None:
        if thing.docstring is not None:
            thing.docstring.value = split(thing.docstring.value, names)
