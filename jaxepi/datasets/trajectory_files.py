"""Trajectories of any code as frames: whatever ASE reads frame by frame (extended XYZ, ASE's .traj, VASP's XDATCAR and
vasprun.xml). Flows in: a file and which of its frames. Flows out: `ase.Atoms`, in the order of the file.
"""

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jaxepi.errors import InputError, shown
from jaxepi.structure import MOST_ATOMS

if TYPE_CHECKING:
    import ase

FRAME = "jaxepi_frame"
"""In `info`: what a frame is called in messages, by its number in the file, counted from zero."""

Run = Callable[["ase.Atoms"], Any]


def parse_slice(text: str) -> slice:
    """Frames as Python and ASE choose them: "100::10" every tenth from number 100 on, ":50" the first, "-50:" the last, "7".

    Raises:
        InputError: another text, or a step of zero.
    """
    found = re.fullmatch(r"\s*(-?\d+)?\s*(?:(:)\s*(-?\d+)?\s*(?::\s*(-?\d+)?)?)?\s*", text)
    if found is None or not text.strip():
        raise InputError(
            f"frames {shown(text)}: give start:stop:step as ASE does, 100::10 for every tenth from number 100 on"
        )
    start, colon, stop, step = found.groups()
    if not colon:
        number = int(start)
        return slice(number, number + 1 or None)
    if step is not None and int(step) < 1:
        raise InputError(f"frames {shown(text)}: the step is {step}; give a positive one")
    return slice(*(None if n is None else int(n) for n in (start, stop, step)))


def read_frames(
    path: str | os.PathLike, chosen: slice | None = None, run: Run = lambda atoms: None
) -> "list[ase.Atoms]":
    """Chosen frames of a file.

    Args:
        chosen: of each run of the file. run: what names the run a frame is of.

    Raises:
        InputError: a file that ASE cannot read or without frames, a frame that is cut off or damaged (its number from zero),
            or a choice of none. OSError: there is no file, or it may not be read.
    """
    chosen = chosen or slice(None)
    held: dict[Any, list[ase.Atoms]] = {}
    ends = chosen.stop if chosen.stop is not None and chosen.stop >= 0 and (chosen.start or 0) >= 0 else None
    count = 0
    with open(path, "rb"):
        pass  # what the system refuses is not a matter of its format
    frames = _frames(path)
    while True:
        try:
            atoms = next(frames)
        except StopIteration:
            break
        except Exception as error:  # ASE's readers raise whatever their parsers meet
            if count and ends is not None and all(len(kept) >= ends for kept in held.values()):
                break  # what is damaged comes after all that was asked for
            raise InputError(_unreadable(path, count, error)) from error
        atoms.info[FRAME] = count
        count += 1
        kept = held.setdefault(run(atoms), [])
        if ends is None or len(kept) < ends:
            kept.append(atoms)
    if not count:
        raise InputError(f"{path} holds no frames; give a trajectory that ASE reads")
    found = [atoms for kept in held.values() for atoms in kept[chosen]]
    if not found:
        longest = max(len(kept) for kept in held.values())
        raise InputError(
            f"{path}: of its {count} frames ({longest} a run at most) none are chosen; give other --frames"
        )
    return found


def _unreadable(path: str | os.PathLike, count: int, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if not count:
        return f"{path} cannot be read as a trajectory ({reason}); give a file that ASE reads frame by frame"
    return f"{path}, frame {count}: it is cut off or damaged ({reason}); repair it, or choose those before (--frames :{count})"


def _frames(path: str | os.PathLike) -> "Iterator[ase.Atoms]":
    """Frames one by one."""
    import ase.io
    from ase.io.formats import filetype

    name = os.fspath(path)
    kind = filetype(name)
    if kind in ("xyz", "extxyz"):
        _refuse_endless(name)
    for atoms in _xdatcar(name) if kind == "vasp-xdatcar" else ase.io.iread(name, index=":", format=kind):
        if kind == "vasp-xml" and atoms.calc is not None:
            atoms.info |= _thermostat(atoms.calc.parameters)
        yield atoms


def _thermostat(parameters: Mapping[str, Any]) -> dict[str, float]:
    """The temperature that a run of VASP was held at, K: molecular dynamics (IBRION 0) with a thermostat of one target."""
    target = parameters.get("tebeg", 0.0)
    held = parameters.get("smass", -3.0) >= 0 or parameters.get("mdalgo", 0) > 0
    moving = parameters.get("ibrion") == 0 and target > 0 and parameters.get("teend", target) == target
    return {"temperature": float(target)} if held and moving else {}


def _refuse_endless(path: str) -> None:
    """Refuse an XYZ file with a frame of more atoms than the file has lines: ASE would look for them for ever.

    Raises:
        ValueError: names the frame.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = sum(1 for _ in file)
        file.seek(0)
        for frame in itertools.count():
            words = next(file, "").split()
            if not words or not words[0].isdigit():
                return  # the end, or what ASE will complain of
            if int(words[0]) > lines:
                raise ValueError(
                    f"frame {frame} says that it has {words[0][:12]} atoms, and the file has {lines} lines"
                )
            for _ in itertools.islice(file, int(words[0]) + 1):
                pass


def _xdatcar(path: str) -> "Iterator[ase.Atoms]":
    """Frames of VASP's XDATCAR, whose header may come again where the cell changes; ASE reads it whole or not at all."""
    import numpy as np
    from ase import Atoms

    with open(path, encoding="utf-8", errors="replace") as file:
        species: list[str] = []
        cell = np.zeros((3, 3))
        for line in file:
            if not line.strip():
                continue
            if "configuration=" not in line.replace(" ", ""):
                scale = float(next(file, ""))
                cell = scale * np.array([[float(x) for x in next(file, "").split()] for _ in range(3)])
                names, counts = next(file, "").split(), [int(n) for n in next(file, "").split()]
                if sum(counts) > MOST_ATOMS:
                    raise ValueError(f"{sum(counts):.3g} atoms")
                species = [name for name, n in zip(names, counts, strict=True) for _ in range(n)]
                next(file, "")
            rows = []
            for _ in species:
                rows.append([float(x) for x in next(file, "").split()])
                if len(rows[-1]) != 3:
                    raise ValueError(f"{len(rows) - 1} of {len(species)} positions")
            yield Atoms(species, scaled_positions=rows, cell=cell, pbc=True)
