"""Seconds a force call and a training step of the learned potential, beside mace-torch with the same hyperparameters.

    python scripts/benchmark_potential.py --peer PEER_PYTHON
    python scripts/benchmark_potential.py --growth experiments/silicon/potential --potential silicon-pbe

Both run in turn on the same cores, on the same displaced silicon cells, without a skin, from the edges on (neighbour lists
are not timed). PEER_PYTHON is the interpreter of an environment with torch 2.13.0 and mace-torch 0.3.16.

`--growth FOLDER` writes FOLDER/cost.csv and cost.png instead: seconds a force call and peak memory against the number of
atoms, a process a size.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk
from refusals import refusing
from timing import machine, peak, shortest

from jaxepi import plotting, potentials
from jaxepi.errors import InputError
from jaxepi.potentials import Potential, learned
from jaxepi.potentials.settings import MaceSettings
from jaxepi.structure import Structure
from jaxepi.training.core.metrics import write_metrics

SIZES = (8, 64, 512, 4096)
GROWTH = (8, 64, 216, 512, 1000, 1728, 2744, 4096)


def cells(sizes: list[int]) -> list[dict[str, Any]]:
    """Displaced silicon cells of so many atoms, as JSON."""
    out = []
    for count in sizes:
        atoms = bulk("Si", a=5.43, cubic=True).repeat(round((count / 8) ** (1 / 3)))
        atoms.rattle(0.05, seed=1)
        entry = {"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist()}
        out.append({**entry, "cell": atoms.cell.array.tolist()})
    return out


def force_call(potential: Potential, structure: Structure) -> Callable[[], Any]:
    """Energy and forces, positions and cell as arguments."""
    graph = potential.graph(structure)

    @jax.jit
    def call(potential, structure, graph):
        return jax.value_and_grad(lambda x: potential.energy(structure.with_positions(x), graph))(structure.positions)

    return lambda: call(potential, structure, graph)


def training_step(potential: Potential, structure: Structure, repeats: int) -> float:
    """Seconds of one optimiser step on energy and forces."""
    step, params, state = training_program(potential, structure)
    return shortest(lambda: step(params, state), repeats + 1)


def program_size(options: argparse.Namespace) -> str:
    """How large the program of a training step is: what tells versions apart on a machine that does other things too."""
    step, params, state = training_program(built(options)[0], structure_of(cells([8])[0], options.dtype))
    compiled = step.lower(params, state).compile()
    cost, text = compiled.cost_analysis(), compiled.as_text()
    return (
        f"training step, 8 atoms: {text.count(' = ')} instructions, {text.count(' fusion(')} fusions, {cost['flops']:.4g} "
        f"operations, {cost['bytes accessed']:.4g} bytes"
    )


def training_program(potential: Potential, structure: Structure) -> tuple[Any, Any, Any]:
    """One optimiser step on energy and forces, jitted, and its two arguments: parameters and state."""
    import optax

    graph = potential.graph(structure)
    optimizer = optax.amsgrad(1e-3)

    @jax.jit
    def step(params, state):
        def loss(params):
            model = Potential(params, potential.module)
            return model.energy(structure, graph) ** 2 + 100 * jnp.mean(model.forces(structure, graph) ** 2)

        value, slopes = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(slopes, state)
        return optax.apply_updates(params, updates), state, value

    return step, potential.params, optimizer.init(potential.params)


def peer(python: str, task: dict[str, Any]) -> dict[str, Any]:
    """The same with mace-torch."""
    script = Path(__file__).parent / "peers" / "mace_torch.py"
    done = subprocess.run([python, str(script)], input=json.dumps(task), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer failed: {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout.splitlines()[-1])


def structure_of(cell: dict[str, Any], dtype: str) -> Structure:
    """One of `cells`."""
    positions, box = (jnp.asarray(np.array(cell[n]), dtype) for n in ("positions", "cell"))
    return Structure(positions, box, tuple(cell["numbers"]))


def built(options: argparse.Namespace) -> tuple[Potential, dict[str, Any]]:
    """The potential that was asked for, or an untrained one, and the hyperparameters of that."""
    if options.potential:
        found = potentials.load(options.potential)
        return jax.tree.map(lambda x: jnp.asarray(x, options.dtype), found), {}
    model = {**MaceSettings().asdict(), "channels": options.channels, "hidden_lmax": options.hidden_lmax}
    model |= {"repulsion": False, "skin": 0.0, "neighbours": [26.0]}
    module = learned.build(model, [14])
    return Potential(module.init(jax.random.key(0)), module), model


def one_size(options: argparse.Namespace) -> dict[str, Any]:
    """Cost of a force call of one size in this process: seconds on the clock and of the processor, peak memory in GB."""
    (cell,) = cells([options.one])
    structure = structure_of(cell, options.dtype)
    call = force_call(built(options)[0], structure)
    jax.block_until_ready(call())
    clock, begin = [], time.process_time()
    for _ in range(options.repeats):
        clock.append(shortest(call, 1))
    processor = (time.process_time() - begin) / options.repeats
    return {"atoms": len(structure), "seconds": min(clock), "processor_seconds": processor, "peak_gb": peak()}


def growth(options: argparse.Namespace) -> None:
    """Cost against number of atoms, a process a size: printed, written as a table and drawn."""
    folder, name = Path(options.growth), options.potential or f"{options.channels} channels"
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; make it, or give another --growth")
    keywords = ("potential", "channels", "hidden_lmax", "dtype", "repeats")
    given = {n: getattr(options, n) for n in keywords if getattr(options, n) is not None}
    flags = [word for n, value in given.items() for word in (f"--{n.replace('_', '-')}", str(value))]
    said = machine()
    print(f"{said}; {Path(name).stem}, {options.dtype}, energy and forces of silicon")
    print("   atoms      ms   processor ms   peak GB   load of the machine")
    rows = []
    for atoms in options.atoms or GROWTH:
        command = [sys.executable, __file__, "--one", str(atoms), *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"{atoms} atoms: {done.stderr.strip()[-600:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        rows.append({"potential": Path(name).stem, "dtype": options.dtype, **found, "load": os.getloadavg()[0]})
        print(
            f"{found['atoms']:8d} {1e3 * found['seconds']:9.1f} {1e3 * found['processor_seconds']:9.1f} "
            f"{found['peak_gb']:9.2f} {rows[-1]['load']:9.1f}",
            flush=True,
        )
        write_metrics(folder / "cost.csv", [{**row, "machine": said} for row in rows])
    plotting.save(plotting.cost(rows, f"{Path(name).stem}, {options.dtype}"), folder / "cost.png")


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="Python with mace-torch; left out, only ours is timed")
    parser.add_argument("--growth", help="folder for the table and the figure of cost against size")
    parser.add_argument("--potential", help="time this one (a name or a file) instead of an untrained one, in --growth")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--hidden-lmax", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--atoms", type=int, nargs="+", help="8 n^3 each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of the peer; ours takes what the process may use")
    parser.add_argument("--program", action="store_true", help="only print how large the program of a training step is")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", options.dtype == "float64")
    if options.growth:
        growth(options)
    elif options.program:
        print(program_size(options))
    elif options.one:
        print(json.dumps(one_size(options)))
    else:
        beside_peer(options)
    return 0


def beside_peer(options: argparse.Namespace) -> None:
    """Force calls and a training step, ours and the peer's."""
    potential, model = built(argparse.Namespace(**{**vars(options), "potential": None}))
    structures = cells(sorted({*(options.atoms or SIZES), 64}))
    ours: dict[str, Any] = {"forces": {}}
    first = {}
    for cell in structures:
        structure = structure_of(cell, options.dtype)
        call = force_call(potential, structure)
        first[len(structure)] = shortest(call, 1)
        ours["forces"][str(len(structure))] = shortest(call, options.repeats)
        if len(structure) == 64:
            ours["training"] = training_step(potential, structure, options.repeats)
    task = {"model": model, "species": [14], "structures": structures, "dtype": options.dtype}
    task |= {"threads": options.threads, "repeats": options.repeats}
    theirs = peer(options.peer, task) if options.peer else None
    name = f"mace-torch {theirs['version']}, torch {theirs['torch']}" if theirs else "no peer"
    count = sum(x.size for x in jax.tree.leaves(potential.params["network"]))
    print(f"{machine()}; {options.channels} channels, hidden lmax {options.hidden_lmax}, {options.dtype}")
    print(f"{count} parameters; against {name}; peak memory of ours {peak():.1f} GB")
    print("first force call of each size, s, with its compilation: " + ", ".join(f"{t:.1f}" for t in first.values()))
    rows = [(f"forces, {n} atoms", t, theirs and theirs["forces"][n]) for n, t in ours["forces"].items()]
    rows.append(("training step, 64 atoms", ours["training"], theirs and theirs["training"]))
    print("| | ours, ms | peer, ms | ratio |\n| --- | --- | --- | --- |")
    for label, a, b in rows:
        print(f"| {label} | {1e3 * a:.1f} | " + (f"{1e3 * b:.1f} | {b / a:.1f} |" if b else "- | - |"))


if __name__ == "__main__":
    sys.exit(main())
