"""Two checkouts side by side: is anything slower, does any trained model say something else?

    python scripts/compare_versions.py BEFORE AFTER [--repeats 3] [--only import help ...] [--output FILE]

BEFORE and AFTER are folders of the repository (`git worktree add BEFORE COMMIT`), both run by this interpreter, in turn.
Prints, for each figure, the shortest of the repeats in both and their ratio; and the largest difference between the
predictions of the shipped models: energies (eV), forces (eV/angstrom), bands (eV).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from refusals import refusing
from reports import report
from timing import machine

from jaxepi.errors import InputError

PREDICTIONS = """
import json, jax, numpy as np
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from ase.build import bulk, graphene
from jaxepi import electrons, hamiltonians, potentials
from jaxepi.structure import Structure
def double(x):
    return x.astype("float64") if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x
found = {}
cells = {"silicon": bulk("Si", a=5.43), "galliumarsenide": bulk("GaAs", "zincblende", a=5.65)}
cells["graphene"] = graphene(vacuum=8.0)
cells["graphene"].pbc = True
rng = np.random.default_rng(0)
points = rng.uniform(-0.5, 0.5, (5, 3))
for name in [*potentials.available(), *hamiltonians.available()]:
    kind = next((c for c in cells if name.startswith(c)), None)
    if kind is None:
        continue
    atoms = cells[kind].copy()
    atoms.positions += rng.normal(0, 0.03, (len(atoms), 3))
    s = Structure.from_ase(atoms)
    if name in potentials.available():
        p = jax.tree.map(double, potentials.load(name))
        g = p.graph(s)
        found["potential " + name] = [float(p.energy(s, g)), *np.ravel(p.forces(s, g)).tolist()]
    if name in hamiltonians.available():
        bands = electrons.eigenvalues(hamiltonians.load(name), s, points)
        found["hamiltonian " + name] = np.ravel(bands).tolist()
print(json.dumps(found))
"""

COMMANDS = {
    "import": (["-c", "import jaxepi"], None),
    "import of all stages": (["-c", "import jaxepi as j; j.optics, j.sampling, j.materials, j.potentials"], None),
    "help": (["-m", "jaxepi", "--help"], None),
    "main job": (
        ["-m", "jaxepi", "absorb", "silicon", "--temperatures", "100", "200", "300", "400", "--no-progress"],
        None,
    ),
    "spectrum of 512 atoms over eigh": (
        ["scripts/benchmark_optics.py", "--atoms", "512", "--repeat", "1"],
        r"spectrum at 200 frequencies.*?([\d.]+) of eigh",
    ),
    "forces, 64 atoms, ms": (
        ["scripts/benchmark_potential.py", "--atoms", "64", "--repeats", "10"],
        r"forces, 64 atoms \| ([\d.]+)",
    ),
    "training step, 64 atoms, ms": (
        ["scripts/benchmark_potential.py", "--atoms", "64", "--repeats", "10"],
        r"training step, 64 atoms \| ([\d.]+)",
    ),
}
"""What is run in each checkout, and where its figure stands in what it prints; None: seconds of the whole process."""


def run(checkout: Path, arguments: list[str]) -> tuple[float, str]:
    """Seconds of a Python process that sees this checkout alone, in an empty folder, and what it prints.

    Raises:
        InputError: it fails.
    """
    words = [str(checkout / a) if a.startswith("scripts/") else a for a in arguments]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise InputError(f"{checkout}: {' '.join(words)} failed: {done.stderr.strip()[-600:]}")
    return seconds, done.stdout


def compared(checkouts: list[Path], names: list[str], repeats: int) -> Iterator[str]:
    """The table of times, checkouts in turn so that both meet the same machine."""
    yield "| figure | before | after | after/before |\n| --- | --- | --- | --- |"
    for name in names:
        arguments, pattern = COMMANDS[name]
        found: list[list[float]] = [[], []]
        for _ in range(repeats):
            for side, checkout in enumerate(checkouts):
                seconds, text = run(checkout, arguments)
                match = re.search(pattern, text) if pattern else None
                if pattern and match is None:
                    raise InputError(f"{checkout}: {' '.join(arguments)} printed no figure for {name}")
                found[side].append(float(match[1]) if match else seconds)
        before, after = (min(x) for x in found)
        yield f"| {name}{'' if pattern else ', s'} | {before:.3f} | {after:.3f} | {after / before:.3f} |"


def predictions(checkouts: list[Path]) -> Iterator[str]:
    """Largest difference between the predictions of each shipped model."""
    before, after = (json.loads(run(checkout, ["-c", PREDICTIONS])[1].splitlines()[-1]) for checkout in checkouts)
    yield "| model | values | largest difference |\n| --- | --- | --- |"
    for name, values in before.items():
        if name not in after:
            yield f"| {name} | {len(values)} | gone |"
            continue
        yield f"| {name} | {len(values)} | {np.abs(np.subtract(values, after[name])).max():.1e} |"


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*COMMANDS, "predictions"], default=[*COMMANDS, "predictions"])
    parser.add_argument("--output", type=Path, help="keep what is printed in this file")
    options = parser.parse_args(arguments)
    checkouts = [options.before.resolve(), options.after.resolve()]
    for checkout in checkouts:
        if not (checkout / "jaxepi").is_dir():
            raise InputError(f"{checkout} is no checkout of jaxepi; give a folder that holds the package")

    def lines() -> Iterator[str]:
        yield f"{machine()}, load {os.getloadavg()[0]:.1f}\n"
        yield from compared(checkouts, [n for n in COMMANDS if n in options.only], options.repeats)
        if "predictions" in options.only:
            yield ""
            yield from predictions(checkouts)

    report(lines(), options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
