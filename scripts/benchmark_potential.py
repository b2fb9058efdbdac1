"""Seconds a force call and a training step of the learned potential, beside mace-torch with the same hyperparameters.

    python scripts/benchmark_potential.py --peer PEER_PYTHON

Both run in turn on the same cores, on the same displaced silicon cells, without a skin, from the edges on (neighbour lists
are not timed). PEER_PYTHON is the interpreter of an environment with torch 2.13.0 and mace-torch 0.3.16.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk
from timing import shortest

from jaxepi.potentials import Potential, learned
from jaxepi.structure import Structure

SIZES = (8, 64, 512, 4096)


def cells(sizes: list[int]) -> list[dict[str, Any]]:
    """Displaced silicon cells of so many atoms, as JSON."""
    out = []
    for count in sizes:
        atoms = bulk("Si", a=5.43, cubic=True).repeat(round((count / 8) ** (1 / 3)))
        atoms.rattle(0.05, seed=1)
        entry = {"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist()}
        out.append({**entry, "cell": atoms.cell.array.tolist()})
    return out


def force_call(potential: Potential, structure: Structure, repeats: int) -> float:
    """Seconds for energy and forces, positions and cell as arguments."""
    graph = potential.graph(structure)

    @jax.jit
    def call(potential, structure, graph):
        return jax.value_and_grad(lambda x: potential.energy(structure.with_positions(x), graph))(structure.positions)

    return shortest(lambda: call(potential, structure, graph), repeats + 1)


def training_step(potential: Potential, structure: Structure, repeats: int) -> float:
    """Seconds of one optimiser step on energy and forces."""
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

    state = optimizer.init(potential.params)
    return shortest(lambda: step(potential.params, state), repeats + 1)


def peer(python: str, task: dict[str, Any]) -> dict[str, Any]:
    """The same with mace-torch."""
    script = Path(__file__).parent / "peers" / "mace_torch.py"
    done = subprocess.run([python, str(script)], input=json.dumps(task), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer failed: {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="Python with mace-torch; left out, only ours is timed")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--hidden-lmax", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--atoms", type=int, nargs="+", default=list(SIZES), help="8 n^3 each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of the peer; ours takes what the process may use")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", options.dtype == "float64")
    model = {**learned.DEFAULTS, "channels": options.channels, "hidden_lmax": options.hidden_lmax}
    model |= {"repulsion": False, "skin": 0.0, "neighbours": [26.0]}
    module = learned.build(model, [14])
    potential = Potential(module.init(jax.random.key(0)), module)
    structures = cells(sorted({*options.atoms, 64}))
    ours: dict[str, Any] = {"forces": {}}
    for cell in structures:
        positions, box = (jnp.asarray(np.array(cell[n]), options.dtype) for n in ("positions", "cell"))
        structure = Structure(positions, box, tuple(cell["numbers"]))
        ours["forces"][str(len(structure))] = force_call(potential, structure, options.repeats)
        if len(structure) == 64:
            ours["training"] = training_step(potential, structure, options.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    task = {"model": model, "species": [14], "structures": structures, "dtype": options.dtype}
    task |= {"threads": options.threads, "repeats": options.repeats}
    theirs = peer(options.peer, task) if options.peer else None
    name = f"mace-torch {theirs['version']}, torch {theirs['torch']}" if theirs else "no peer"
    count = sum(x.size for x in jax.tree.leaves(potential.params["network"]))
    print(f"{options.channels} channels, hidden lmax {options.hidden_lmax}, {options.dtype}, {jax.default_backend()}")
    print(f"{count} parameters; against {name}; peak memory of ours {peak:.1f} GB")
    rows = [(f"forces, {n} atoms", t, theirs and theirs["forces"][n]) for n, t in ours["forces"].items()]
    rows.append(("training step, 64 atoms", ours["training"], theirs and theirs["training"]))
    print("| | ours, ms | peer, ms | ratio |\n| --- | --- | --- | --- |")
    for label, a, b in rows:
        print(f"| {label} | {1e3 * a:.1f} | " + (f"{1e3 * b:.1f} | {b / a:.1f} |" if b else "- | - |"))


if __name__ == "__main__":
    main()
