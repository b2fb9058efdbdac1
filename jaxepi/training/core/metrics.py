"""The CSV of a run: a row an epoch, written whole or not at all."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxepi.files import whole


def write_metrics(path: Path, history: Sequence[Mapping[str, object]]) -> None:
    """Write rows that share their columns; nothing when there are none."""
    if not history:
        return
    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, history[0].keys())
        writer.writeheader()
        for row in history:
            writer.writerow({n: f"{v:.9g}" if isinstance(v, float) else v for n, v in row.items()})
