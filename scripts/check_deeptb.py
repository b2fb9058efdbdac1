"""Compares Hamiltonians read from DeePTB with what DeePTB computes itself, in float64.

    python scripts/check_deeptb.py --dptb-python PATH/TO/VENV/bin/python [--only silicon]

The other environment: pip install torch==2.5.1 "numpy<2" "scipy<1.13" "setuptools<80" wheel, then
pip install --no-build-isolation torch_scatter==2.1.2, then pip install dptb==2.2.1. A row a model: DeePTB's own examples
(silicon, AlAs, tin with spin-orbit coupling, carbon and gold with overlap), and models of every distance law and on-site form
with parameters drawn at random, on rattled cells of one and of two elements. Columns: largest deviation of H and S (eV), of
dH/dk (eV angstrom) and of bands (eV), at three k points.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from ase import Atoms
from ase.build import bulk

jax.config.update("jax_enable_x64", True)

from jaxepi import hamiltonians  # noqa: E402
from jaxepi.hamiltonians import Hamiltonian, bloch, deeptb_laws, deeptb_models  # noqa: E402
from jaxepi.hamiltonians.basis import SHELLS  # noqa: E402
from jaxepi.hamiltonians.two_centre import D_TENSORS  # noqa: E402
from jaxepi.structure import Structure  # noqa: E402

KPOINTS = [[0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.13, -0.21, 0.37]]
DATA = "tests/data"


def _rattled(atoms: Atoms, seed: int = 1) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += 0.05 * np.random.default_rng(seed).standard_normal((len(atoms), 3))
    return atoms


SILICON = _rattled(bulk("Si", a=5.43))
ALAS, TIN = _rattled(bulk("AlAs", "zincblende", a=5.66)), _rattled(bulk("Sn", "diamond", a=6.49))
BN = _rattled(bulk("BN", "zincblende", a=3.6))


def examples() -> dict[str, dict[str, Any]]:
    """DeePTB's own models, by name."""
    models = f"{DATA}/json_model"
    nnsk = {"soc": {}, "push": False, "freeze": False, "std": 0.01}
    first = {
        "model_options": {
            "nnsk": {
                "onsite": {"method": "strain", "rs": 6.0, "w": 0.1},
                "hopping": {"method": "powerlaw", "rs": 2.6, "w": 0.3},
                **nnsk,
            }
        },
        "common_options": {"basis": {"Si": ["3s", "3p", "d*"]}, "device": "cpu", "dtype": "float64", "overlap": False},
    }
    return {
        "silicon v2": {"checkpoint": f"{models}/Si_v2ckpt.json", "structure": SILICON},
        "silicon v1": {
            "checkpoint": f"{models}/Si_v1_nnsk_b2.600_c2.600_w0.300.json",
            "structure": SILICON,
            "options": first,
        },
        "silicon NRL": {"checkpoint": f"{models}/Si_nrl.json", "structure": SILICON},
        "AlAs": {"checkpoint": f"{models}/AlAs_v2ckpt.json", "structure": ALAS},
        "tin": {"checkpoint": f"{DATA}/Sn/soc/ckpt_nsoc/nnsk.ep100.pth", "structure": TIN},
        "tin spin-orbit": {"checkpoint": f"{DATA}/Sn/soc/ckpt_soc/nnsk.ep100.pth", "structure": TIN},
        "carbon": {
            "checkpoint": f"{DATA}/test_to_pardiso/nnsk.iter_ovp0.000.pth",
            "structure": _rattled(bulk("C", "diamond", a=3.57)),
        },
        "gold": {"checkpoint": f"{DATA}/test_get_fermi/nnsk.best.pth", "structure": bulk("Au", a=4.08)},
    }


def drawn() -> dict[str, dict[str, Any]]:
    """Every distance law with overlap, and every on-site form, of one and two elements."""
    both = {"B": ["2s", "2p"], "N": ["s*", "2s", "2p", "d*"]}
    base: dict[str, Any] = {"soc": {}, "push": False, "freeze": False, "std": 0.1}
    found = {}
    for i, law in enumerate(deeptb_laws.LAWS):
        radius = "cov" if i % 2 else "v1"
        hopping = {"method": law, "rs": 3.0, "w": 0.2}
        found[law] = {
            "nnsk": {**base, "onsite": {"method": "uniform"}, "hopping": hopping, "atomic_radius": radius},
            "basis": {"B": ["2s", "2p"], "N": ["2s", "2p", "d*"]},
            "overlap": True,
            "structure": BN,
        }
    hopping = {"method": "poly2exp", "rs": 3.0, "w": 0.2}
    for method in deeptb_models.ONSITE:
        onsite = {"method": method, "rs": 2.5, "w": 0.2, "lda": 1.2}
        found[f"on-site {method}"] = {
            "nnsk": {**base, "onsite": onsite, "hopping": hopping},
            "basis": both if method in ("none", "uniform", "uniform_noref", "strain") else found["NRL1"]["basis"],
            "overlap": False,
            "structure": BN,
        }
    for name, rs in (("elements", {"B": 2.6, "N": 3.2}), ("pairs", {"B-B": 2.6, "B-N": 3.0, "N-N": 2.8})):
        hopping = {"method": "powerlaw", "rs": rs, "w": 0.1}
        nnsk = {**base, "onsite": {"method": "none"}, "hopping": hopping, "soc": {"method": "uniform_noref"}}
        found[f"cutoffs of {name}"] = {"nnsk": nnsk, "basis": both, "overlap": False, "structure": BN}
    net = {"activation": "tanh", "if_batch_normalized": False}
    for name, method, overlap in (("uniform", "uniform", True), ("strain", "strain", False)):
        onsite = {"method": method, "rs": 2.5, "w": 0.2}
        found[f"surroundings {name}"] = {
            "nnsk": {**base, "onsite": onsite, "hopping": {"method": "powerlaw", "rs": 2.2, "w": 0.1}},
            "embedding": {
                "method": "se2",
                "rs": 2.0,
                "rc": 3.2,
                "n_axis": 4,
                "radial_net": {"neurons": [6, 8, 10], **net},
            },
            "prediction": {"method": "sktb", "neurons": [12, 12, 9], **net},
            "basis": {"B": ["2s", "2p"], "N": ["2s", "2p", "d*"]},
            "overlap": overlap,
            "structure": BN,
        }
    return {name: {"seed": i, **task} for i, (name, task) in enumerate(found.items())}


def harmonics() -> dict[int, np.ndarray]:
    """From this package's real harmonics to DeePTB's, which are in the order m = -l ... l about z, by angular momentum."""
    x, y, z = np.eye(3)
    half = 3**0.5 / 2
    d = [half * (np.outer(a, b) + np.outer(b, a)) for a, b in ((x, y), (y, z), (x, z))]
    d.insert(2, np.diag([-0.5, -0.5, 1.0]))
    d.append(np.diag([half, -half, 0.0]))
    return {0: np.eye(1), 1: np.stack([y, z, x]), 2: 2 / 3 * np.einsum("aij,bij->ab", d, D_TENSORS)}


def ours(hamiltonian: Hamiltonian, structure: Structure, k: list[float]) -> tuple[np.ndarray, ...]:
    """H, S and dH/dk in DeePTB's convention: P conj(H) P with the parities P (and the spin turned over, as time reversal has
    it), in its harmonics and order of shells, all up before all down."""
    graph = hamiltonian.graph(structure)
    h, s = bloch.hamiltonian_k(hamiltonian, structure, graph, jnp.array(k))
    dh, _ = bloch.hamiltonian_gradient(hamiltonian, structure, graph, jnp.array(k))
    basis, turn = hamiltonian.basis, harmonics()
    held = dict(basis.shells)
    names = [(i, n) for i, z in enumerate(structure.species) for n in basis.all_shells if n in held[z]]
    to = scipy.linalg.block_diag(*((-1.0) ** SHELLS[n][0] * turn[SHELLS[n][0]] for _, n in names))
    sort = [(i, held[structure.species[i]].index(n)) for i, n in names for _ in SHELLS[n][1]]
    to = to[sorted(range(len(sort)), key=sort.__getitem__)]
    if basis.spinor:  # atom by atom, up and then down, here
        counts = [sum(len(SHELLS[n][1]) for n in held[z]) for z in structure.species]
        starts = 2 * np.cumsum([0, *counts[:-1]])
        up = np.concatenate([start + np.arange(n) for start, n in zip(starts, counts, strict=True)])
        down = up + np.repeat(counts, counts)
        to = np.kron([[0, 1], [-1, 0]], to)[:, np.argsort(np.concatenate([up, down]))]

    def turned(matrix: Any) -> np.ndarray:
        return to @ np.asarray(matrix).conj() @ to.T

    return turned(h), np.eye(len(to)) if s is None else turned(s), turned(dh)


def deviations(folder: Path, name: str, atoms: Atoms) -> dict[str, float]:
    """Largest of each kind."""
    path = folder / f"{name}.json"
    theirs = np.load(folder / f"{name}.npz")
    plain = hamiltonians.load(path)
    spinor = bool(json.loads(path.read_text())["model_params"].get("soc"))
    hamiltonian = plain.with_spin_orbit() if spinor else plain
    structure = Structure.from_ase(atoms)
    out = {"H": 0.0, "S": 0.0, "dH/dk": 0.0, "bands": 0.0}
    for i, k in enumerate(KPOINTS):
        h, s, dh = ours(hamiltonian, structure, k)
        given, half = theirs["h"][i], len(h) // 2
        if (
            hamiltonian.basis.spinor
        ):  # its block of spin down and up is the conjugate, not the adjoint, of that of up and down
            given[half:, :half] = given[:half, half:].conj().T
        overlap = theirs["s"][i] if "s" in theirs else np.eye(len(h))
        found = [scipy.linalg.eigh(a, b, eigvals_only=True) for a, b in ((h, s), (given, overlap))]
        out["bands"] = max(out["bands"], float(np.abs(found[0] - found[1]).max()))
        out["H"] = max(out["H"], float(np.abs(h - given).max()))
        out["S"] = max(out["S"], float(np.abs(s - overlap).max()))
        if "dh" in theirs:
            out["dH/dk"] = max(out["dH/dk"], float(np.abs(dh - theirs["dh"][i]).max()))
    return out


def main() -> None:
    """Run DeePTB, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dptb-python", default=sys.executable)
    parser.add_argument("--only", default="", help="models whose name holds this")
    arguments = parser.parse_args()
    tasks = {name: task for name, task in {**examples(), **drawn()}.items() if arguments.only in name}
    script = Path(__file__).parent / "peers" / "deeptb.py"
    with tempfile.TemporaryDirectory() as made:
        job = {"kpoints": KPOINTS, "tasks": []}
        for name, task in tasks.items():
            atoms = task["structure"]
            cell = {
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.tolist(),
            }
            job["tasks"].append({**task, "name": name, "structure": cell})
        done = subprocess.run(
            [arguments.dptb_python, script, made], input=json.dumps(job), text=True, stdout=subprocess.PIPE, check=True
        )
        print(f"versions: {done.stdout.strip().splitlines()[-1]}")
        print(f"{'model':22s}{'H, eV':>11s}{'S':>11s}{'dH/dk, eV A':>13s}{'bands, eV':>11s}")
        for name, task in tasks.items():
            found = deviations(Path(made), name, task["structure"])
            print(f"{name:22s}{found['H']:11.1e}{found['S']:11.1e}{found['dH/dk']:13.1e}{found['bands']:11.1e}")


if __name__ == "__main__":
    main()
