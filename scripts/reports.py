"""Reports that are printed and kept."""

from collections.abc import Iterable
from pathlib import Path

from jaxepi.files import whole


def report(lines: Iterable[str], output: Path | None) -> None:
    """Print lines as they are found and, where there is a file to write, keep there what is printed so far."""
    said: list[str] = []
    for line in lines:
        print(line, flush=True)
        said.append(line)
        if output:
            with whole(output) as temporary:
                temporary.write_text("```\n" + "\n".join(said) + "\n```\n")
