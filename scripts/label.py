"""Label structures with an ab initio code: structures in, one small file a finished configuration out.

    python scripts/label.py structures.xyz --recipe silicon-hse06 --work WORK

Several calls may share a work folder: each configuration is locked while it runs, and the lock goes with the process.
A kill loses at most the running configuration; the next call continues. A failed calculation is recorded with its
reason in a .failed.json file and skipped (--retry tries again). pack.py turns work folders into a data set.
"""

import argparse
import fcntl
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ase
import ase.io
import engines
import numpy as np
from recipes import RECIPES
from refusals import refusing

from jaxepi.datasets import read
from jaxepi.datasets.dataset import fingerprint
from jaxepi.errors import InputError
from jaxepi.files import whole


def name_of(atoms: ase.Atoms) -> str:
    """Name of the file of one structure: the hash that its data set will know it by."""
    mesh = engines.Mesh.of(atoms)
    return fingerprint(atoms.positions.round(8), atoms.cell.array.round(8), atoms.numbers.tolist(), mesh.flat)


def label_one(engine: engines.Engine, atoms: ase.Atoms, stem: Path) -> str | None:
    """Label one structure into `stem`.npz, or record the reason of its failure in `stem`.failed.json and return it."""
    try:
        result = engine.label(atoms)
    except engines.LabelFailure as failure:
        with whole(stem.with_suffix(".failed.json")) as temporary:
            temporary.write_text(json.dumps({"reason": str(failure)}, indent=1))
        return str(failure)
    atoms.info.setdefault("source", "label.py")
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


def unknown(structures: list[ase.Atoms], path: Path) -> list[ase.Atoms]:
    """Those that the data set at `path` does not hold yet.

    Raises:
        InputError: a damaged set.
    """
    held = {name for group in read(path).groups for name in group.fingerprint}
    return [atoms for atoms in structures if name_of(atoms) not in held]


def run(structures: list[ase.Atoms], engine: engines.Engine, folder: Path, retry: bool, deadline: float) -> int:
    """Label all structures that are not labelled yet; returns the number of failures met."""
    folder.mkdir(parents=True, exist_ok=True)
    times: list[float] = []
    failures = 0
    stems = [folder / name_of(atoms) for atoms in structures]
    for index, (atoms, stem) in enumerate(zip(structures, stems, strict=True)):
        failed = stem.with_suffix(".failed.json")
        with stem.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if stem.with_suffix(".npz").exists() or (failed.exists() and not retry):
                continue
            start = time.perf_counter()
            reason = label_one(engine, atoms, stem)
        times.append(time.perf_counter() - start)
        failures += reason is not None
        done = sum(s.with_suffix(".npz").exists() or s.with_suffix(".failed.json").exists() for s in stems)
        left = (len(structures) - done) * float(np.mean(times[-20:]))
        state = "labelled" if reason is None else f"FAILED ({reason})"
        print(
            f"{folder.name} {index:5d} {state} in {times[-1]:.1f} s; {done}/{len(structures)} done, "
            f"{left / 60:.0f} min left with one process",
            flush=True,
        )
        if time.time() > deadline:
            print("time limit reached; call again to continue", flush=True)
            break
    for lock_file in folder.glob("*.lock"):
        with lock_file.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            lock_file.unlink(missing_ok=True)
    return failures


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line; exits with 2 on input that is refused and 1 if a calculation failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path, help="extended XYZ of make_structures.py")
    parser.add_argument("--recipe", required=True, choices=sorted(RECIPES))
    parser.add_argument("--work", type=Path, required=True, help="work folder, outside the repository")
    parser.add_argument("--known", type=Path, help="a data set; what it holds is not labelled again")
    parser.add_argument("--retry", action="store_true", help="try failed configurations again")
    parser.add_argument("--hours", type=float, default=1e6, help="start no configuration after this time")
    options = parser.parse_args(arguments)
    name, recipe = RECIPES[options.recipe]
    engine = engines.get(name, recipe)
    try:
        structures = [*ase.io.iread(options.structures, index=":", format="extxyz")]
    except (OSError, ValueError, KeyError, ase.io.formats.UnknownFileTypeError) as error:
        raise InputError(f"{options.structures} cannot be read as extended XYZ: {error}") from error
    for index, atoms in enumerate(structures):
        try:
            engine.check(atoms)
        except InputError as error:
            raise InputError(f"structure {index} of {options.structures}: {error}") from error
    if options.known is not None:
        structures = unknown(structures, options.known)
        print(f"{len(structures)} structures are not in {options.known}", flush=True)
    folder = options.work / options.structures.stem
    failures = run(structures, engine, folder, options.retry, time.time() + 3600 * options.hours)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
