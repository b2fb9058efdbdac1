"""The notebooks docs/notebooks/*.ipynb, without outputs, from the Python files beside them (jupytext's py:percent).

python scripts/write_notebooks.py

Edit the Python file, then run this; or let jupytext pair the two, which the header of each file asks it to.
"""

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)
METADATA = {
    "jupytext": {"formats": "ipynb,py:percent"},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def cells(text: str) -> list[tuple[str, str]]:
    """Kind ("markdown" or "code") and text of each cell of a file; its header aside."""
    parts = CELL.split(text)[1:]
    found = []
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        if mark:
            found.append(("markdown", re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE)))
        else:  # what only notebooks understand stands behind a # in the Python file
            found.append(("code", re.sub(r"^( *)# (%pip )", r"\1\2", body.strip("\n"), flags=re.MULTILINE)))
    return found


def notebook(text: str) -> str:
    """The notebook of a Python file."""
    content = []
    for number, (kind, body) in enumerate(cells(text)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number:02d}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        content.append({**cell, "source": body.splitlines(keepends=True)})
    whole = {"cells": content, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write them all."""
    for path in sorted(FOLDER.glob("*.py")):
        path.with_suffix(".ipynb").write_text(notebook(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"Written: {path.with_suffix('.ipynb')}")


if __name__ == "__main__":
    main()
