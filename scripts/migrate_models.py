"""Bring files of learned Hamiltonians up to date: the published set that an older file names is written into it.

    python scripts/migrate_models.py model.npz other.npz

Every file is replaced only after the bands of the new one have been compared with those of the old, at rest and displaced; the
largest difference is printed. Files that hold their set already are left alone. A set that was a file of its own is looked for
under the path that the model names.
"""

import argparse
import dataclasses
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from refusals import refusing

from jaxepi import electrons
from jaxepi.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from jaxepi.errors import InputError
from jaxepi.hamiltonians import Hamiltonian, learned, parameter_files
from jaxepi.structure import Structure

POINTS = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.5], [0.1, 0.23, 0.37]])
AGREEMENT = 1e-9
"""eV: bands of the old file and the new one may differ by rounding alone."""


def bands(hamiltonian: Hamiltonian, lattice_constant: float) -> np.ndarray:
    """Eigenvalues of a zincblende crystal of the model's elements, at rest and displaced, without and with spin, eV."""
    species = (hamiltonian.basis.species * 2)[:2]
    cell = lattice_constant * (1 - np.eye(3)) / 2
    rest = Structure.create(np.array([[0, 0, 0], [0.25] * 3]) * lattice_constant, cell, species)
    graph = hamiltonian.graph(rest)
    moved = rest.with_positions(rest.positions + 0.05 * jax.random.normal(jax.random.key(0), (2, 3)))
    return np.stack([electrons.eigenvalues(hamiltonian, s, POINTS, graph) for s in (rest, moved)])


def old_model(held: Checkpoint, path: Path) -> Hamiltonian:
    """The model as its file was read before: its set looked up by name, spin-orbit couplings and all."""
    try:
        module, _ = learned.configured(held.config["model"])
    except InputError as error:
        raise InputError(f"{path} names a published set that is not there: {error}") from error
    return Hamiltonian(jax.tree.map(jnp.asarray, dict(held.params)), module)


def migrate(path: Path) -> str:
    """Replace one file; what is to be said of it.

    Raises:
        InputError: no file of a learned Hamiltonian, a set that cannot be found, or bands that differ.
    """
    held = read_checkpoint(path, "hamiltonian")
    config = held.config["model"]
    if not isinstance(config["base"], str):
        return f"{path}: holds its set already"
    before = old_model(held, path)
    contents = parameter_files.read(config["base"])
    found = {**held.config, "model": {**config, "base": contents}}
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / path.name
        write_checkpoint(written, dataclasses.replace(held, config=found))
        after = learned.read(written)[0]
        pairs = [(before, after)]
        if after.module.base.couplings:
            pairs.append((before.with_spin_orbit(), after.with_spin_orbit()))
        a = contents["lattice_constant"]
        worst = max(float(np.abs(bands(one, a) - bands(two, a)).max()) for one, two in pairs)
        if not worst < AGREEMENT:
            raise InputError(f"{path}: bands of the new file differ by {worst:.1e} eV; it was left as it is")
        shutil.copyfile(written, path)
    spin = "without and with spin-orbit coupling" if len(pairs) > 1 else "without spin-orbit coupling"
    return f"{path}: holds {contents['name']} now; bands {spin} agree within {worst:.1e} eV"


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Migrate the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="files of learned Hamiltonians")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    for path in options.models:
        print(migrate(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
