"""Label structures with an engine: structures in, one small file a finished configuration out.

Several processes may share a work folder: each configuration is locked while it runs, and the lock goes with the process. A
signal or a kill loses at most the running configuration; the next call goes on. A failed calculation is recorded with its
reason in a .failed.json file and skipped, unless it is to be tried again. `packing` turns work folders into a data set.
(Many processes that share one folder is what `workflows.study`, one process a result, does not do; signals and whole files
are the same.)
"""

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase
import numpy as np

from jaxepi import datasets, signals
from jaxepi.datasets.dataset import fingerprint
from jaxepi.errors import InputError
from jaxepi.files import whole
from jaxepi.labelling import engines
from jaxepi.labelling.engines import Engine, LabelFailure


def name_of(atoms: ase.Atoms) -> str:
    """Name of the file of one structure: the hash that its data set will know it by."""
    mesh = engines.Mesh.of(atoms)
    return fingerprint(atoms.positions.round(8), atoms.cell.array.round(8), atoms.numbers.tolist(), mesh.flat)


def label_one(engine: Engine, atoms: ase.Atoms, stem: Path) -> str | None:
    """Label one structure into `stem`.npz, or record the reason of its failure in `stem`.failed.json and return it."""
    try:
        result = engine.label(atoms)
    except LabelFailure as failure:
        with whole(stem.with_suffix(".failed.json")) as temporary:
            temporary.write_text(json.dumps({"reason": str(failure)}, indent=1))
        return str(failure)
    atoms.info.setdefault("source", "jaxepi label")
    save(stem, atoms, engine.levels, result)
    stem.with_suffix(".failed.json").unlink(missing_ok=True)
    return None


def save(stem: Path, atoms: ase.Atoms, levels: Mapping[str, Any], result: Mapping[str, np.ndarray]) -> None:
    """Write one labelled configuration to `stem`.npz, whole or not at all."""
    info = {k: (v.tolist() if isinstance(v, np.ndarray) else v) for k, v in atoms.info.items()}
    meta = {"info": info, "levels": dict(levels)}
    arrays = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array, "pbc": atoms.pbc}
    with whole(stem.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, meta=np.array(json.dumps(meta)), **arrays, **result)


def refuse(structures: Sequence[ase.Atoms], engine: Engine, where: str) -> None:
    """Refuse structures that the engine cannot take, before any of them runs.

    Args:
        where: the file they came from, for the message.

    Raises:
        InputError: names the first.
    """
    for index, atoms in enumerate(structures):
        try:
            engine.check(atoms)
        except InputError as error:
            raise InputError(f"structure {index} of {where}: {error}") from error


def unknown(structures: Sequence[ase.Atoms], path: Path) -> list[ase.Atoms]:
    """Those that the data set at `path` does not hold yet.

    Raises:
        InputError: a damaged set.
    """
    held = {name for group in datasets.read(path).groups for name in group.fingerprint}
    return [atoms for atoms in structures if name_of(atoms) not in held]


def run(
    structures: Sequence[ase.Atoms],
    engine: Engine,
    folder: Path,
    retry: bool = False,
    hours: float = float("inf"),
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Label all structures that are not labelled yet; returns the number of failures met.

    Args:
        folder: of the files; its parents are made. retry: try failed configurations again. hours: start no configuration after
            so many. say: is told of each configuration that ended, in a line.

    Raises:
        signals.Interrupted: a signal came; what is finished is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 3600 * hours
    times: list[float] = []
    failures = 0
    stems = [folder / name_of(atoms) for atoms in structures]
    with signals.noted(f"labelled configurations are kept in {folder}, and the same command goes on from there"):
        for index, (atoms, stem) in enumerate(zip(structures, stems, strict=True)):
            if time.monotonic() > deadline:
                say("time limit reached; call again to go on")
                break
            with _held(stem.with_suffix(".lock")) as mine:
                if not mine or stem.with_suffix(".npz").exists() or (_failed(stem) and not retry):
                    continue
                start = time.perf_counter()
                reason = label_one(engine, atoms, stem)
            times.append(time.perf_counter() - start)
            failures += reason is not None
            done = sum(s.with_suffix(".npz").exists() or _failed(s) for s in stems)
            left = (len(structures) - done) * float(np.mean(times[-20:]))
            state = "labelled" if reason is None else f"FAILED ({reason})"
            say(
                f"{folder.name} {index:5d} {state} in {times[-1]:.1f} s; {done}/{len(structures)} done, "
                f"{left / 60:.0f} min left with one process"
            )
    for lock in folder.glob("*.lock"):
        with _held(lock) as mine:
            if mine:
                lock.unlink(missing_ok=True)
    return failures


def _failed(stem: Path) -> bool:
    return stem.with_suffix(".failed.json").exists()


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether this process holds the lock of a configuration while the block runs, or another one does."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
