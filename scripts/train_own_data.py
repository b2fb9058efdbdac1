"""Data of others to models by the command line alone: what is typed, how long it takes, and the errors at its end.

python scripts/train_own_data.py --epochs 200

Makes the data first: 30 frames of extended XYZ (eight atoms of silicon, labels of the Stillinger-Weber potential under MACE's
names), and a folder of DeePTB's layout (20 cells of two atoms, bands of Vogl's tight-binding set on 27 k points, nothing said
of filled bands). Then, for each, `jaxepi train --example` and `jaxepi train`.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ase.io
import jax
import numpy as np
from ase.build import bulk
from ase.io import Trajectory
from refusals import refusing

from jaxepi import hamiltonians, kpoints, potentials
from jaxepi.electrons import eigenvalues
from jaxepi.structure import Structure

FRAMES, CELLS = 30, 20
NOISE = 0.07
"""Angstrom, of every coordinate."""


def cells(cubic: bool, count: int) -> list[ase.Atoms]:
    """Displaced and strained silicon."""
    random, out = np.random.default_rng(0), []
    for _ in range(count):
        atoms = bulk("Si", a=5.43, cubic=cubic)
        strain = random.uniform(-0.01, 0.01, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.positions += random.normal(scale=NOISE, size=(len(atoms), 3))
        out.append(atoms)
    return out


def write_frames(path: Path) -> None:
    """Extended XYZ with energies, forces and stress under the names that MACE gives them."""
    calculator = potentials.calculator(potentials.load("silicon-sw1985"))
    frames = cells(cubic=True, count=FRAMES)
    for atoms in frames:
        atoms.calc = calculator
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.info["REF_stress"] = atoms.get_stress(voigt=False).ravel()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
    ase.io.write(path, frames, format="extxyz")


def write_folder(path: Path) -> None:
    """A folder of DeePTB's layout."""
    path.mkdir()
    mesh, known = kpoints.mesh(3), hamiltonians.load("si-vogl1983")
    frames = cells(cubic=False, count=CELLS)
    bands = [np.asarray(eigenvalues(known, Structure.from_ase(atoms), mesh.points))[:, :8] for atoms in frames]
    np.save(path / "kpoints.npy", mesh.points)
    np.save(path / "eigenvalues.npy", np.stack(bands))
    (path / "info.json").write_text(json.dumps({"nframes": CELLS, "natoms": 2, "pos_type": "ase", "pbc": True}))
    with Trajectory(path / "xdat.traj", "w") as file:
        for atoms in frames:
            file.write(atoms)


@dataclasses.dataclass(frozen=True)
class Typed:
    """A command line that was run: its words, seconds by the clock and of processors, and output."""

    words: tuple[str, ...]
    seconds: float
    processor: float
    output: str


def run(folder: Path, *words: str) -> Typed:
    """Run `jaxepi` in a folder."""
    begun, before = time.perf_counter(), os.times()
    done = subprocess.run([sys.executable, "-m", "jaxepi", *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"jaxepi {' '.join(words)}: {done.stderr}")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Typed(words, time.perf_counter() - begun, used, done.stdout)


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line; exits with 2 on input that is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--kind", choices=("potential", "hamiltonian"), help="one of the two (default: both)")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_frames(folder / "labels.xyz")
        write_folder(folder / "bands")
        for kind, data in (("potential", "labels.xyz"), ("hamiltonian", "bands")):
            if options.kind in (None, kind):
                wrote = run(folder, "train", "--example", kind, "--data", data)
                trained = run(folder, "train", kind, f"{kind}.toml", "--epochs", str(options.epochs), "--no-progress")
                for typed in (wrote, trained):
                    print(
                        f"{typed.seconds:6.1f} s ({typed.processor:.1f} of processors)  jaxepi {' '.join(typed.words)}"
                    )
                print(trained.output.partition("Written: ")[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
