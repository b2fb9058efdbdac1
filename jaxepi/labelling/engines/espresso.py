"""Quantum ESPRESSO: `pw.x` run on a written input, read from its XML. PBE first, then a hybrid from its density.

The XML is in Hartree atomic units; k points there are Cartesian in 2 pi/alat. Constants are ASE's.
"""

import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import atomic_masses, chemical_symbols
from ase.units import Bohr, Hartree

from jaxepi import signals
from jaxepi.errors import InputError
from jaxepi.labelling.engines.base import LabelFailure, Mesh

INSTALL = (
    "pw.x was not found. Install Quantum ESPRESSO, on Debian with\n"
    "    apt-get install --no-install-recommends quantum-espresso quantum-espresso-data\n"
    "or put pw.x on PATH"
)
HYBRID = {"hse06": "hse", "pbe0": "pbe0"}


class Espresso:
    """Self-consistent plane-wave labels.

    Args:
        levels: names in the order they run; `pbe` first, optionally `hse06` after it.
        pseudopotentials: element -> file name in `pseudo_dir`.
        valence: element -> valence electrons, from the pseudopotential.
        empty: empty bands a pair of atoms that are stored. spare: further bands that are converged loosely and dropped.
        ecutwfc: Ry. conv_thr: level -> Ry. stress: levels whose stress is kept (QE 6.7's HSE06 stress is 3 GPa off).
        eigenvalues: whether to store them. symmetry: use point-group symmetry (only for undisplaced cells).
    """

    def __init__(
        self,
        *,
        levels: Sequence[str],
        pseudopotentials: Mapping[str, str],
        valence: Mapping[str, int],
        empty: float,
        spare: int,
        ecutwfc: float,
        conv_thr: Mapping[str, float],
        stress: Sequence[str] = ("pbe",),
        eigenvalues: bool = True,
        mixing_beta: float = 0.7,
        symmetry: bool = False,
        pseudo_dir: str = "/usr/share/espresso/pseudo",
        command: str = "pw.x",
        timeout: float = 3600.0,
    ):
        program = shutil.which(command)
        if program is None:
            raise InputError(INSTALL)
        self.program, self.pseudo_dir, self.timeout = program, Path(pseudo_dir), timeout
        self.pseudopotentials, self.valence = dict(pseudopotentials), dict(valence)
        self.empty, self.spare, self.symmetry = empty, spare, symmetry
        self.ecutwfc, self.conv_thr, self.mixing_beta = ecutwfc, dict(conv_thr), mixing_beta
        self.stress, self.eigenvalues = tuple(stress), eigenvalues
        version = _version(program)
        self.levels = {level: self._definition(level, version) for level in levels}

    def _definition(self, level: str, version: str) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "pseudopotentials": self.pseudopotentials,
            "ecutwfc_ry": self.ecutwfc,
            "conv_thr_ry": self.conv_thr[level],
            "occupations": "fixed",
        }
        if level in HYBRID:
            settings |= {
                "input_dft": HYBRID[level],
                "ecutfock_ry": self.ecutwfc,
                "nqx": "equal to the k mesh",
                "x_gamma_extrapolation": True,
                "exxdiv_treatment": "gygi-baldereschi",
                "start": "PBE density and orbitals",
            }
        return {"code": "Quantum ESPRESSO pw.x", "version": version, "settings": settings}

    def check(self, atoms: ase.Atoms) -> None:
        for symbol in sorted(set(atoms.get_chemical_symbols())):
            if symbol not in self.pseudopotentials:
                raise InputError(f"no pseudopotential for {symbol}; this recipe has {sorted(self.pseudopotentials)}")
            if not (self.pseudo_dir / self.pseudopotentials[symbol]).exists():
                raise InputError(
                    f"pseudopotential {self.pseudopotentials[symbol]} is missing; install quantum-espresso-data"
                )
        if not all(atoms.pbc):
            raise InputError(
                f"pbc={atoms.pbc.tolist()}: the plane-wave engine takes cells periodic in three directions"
            )
        Mesh.of(atoms)

    def label(self, atoms: ase.Atoms) -> dict[str, np.ndarray]:
        mesh = Mesh.of(atoms)
        electrons = sum(self.valence[s] for s in atoms.get_chemical_symbols())
        stored = electrons // 2 + round(self.empty * len(atoms) / 2)
        out: dict[str, np.ndarray] = {}
        with tempfile.TemporaryDirectory(prefix="espresso-") as folder:
            for level in self.levels:
                start = _cpu_seconds()
                text = self._input(atoms, mesh, level, stored + self.spare)
                result = self._run(Path(folder), text, level, atoms)
                seconds = _cpu_seconds() - start
                points = {"kpoints": result.pop("kpoints"), "weights": result.pop("weights")}
                result["eigenvalues"] = result["eigenvalues"][:, :stored]
                if self.eigenvalues:
                    out |= points
                else:
                    del result["eigenvalues"]
                if level not in self.stress:
                    del result["stress"]
                out |= {f"{level}/{name}": value for name, value in result.items()}
                out[f"{level}/seconds"] = np.array(seconds)
        out["occupied"] = np.array(electrons // 2)
        return out

    def _input(self, atoms: ase.Atoms, mesh: Mesh, level: str, bands: int) -> str:
        symbols = sorted(set(atoms.get_chemical_symbols()))
        system = [f"ibrav=0, nat={len(atoms)}, ntyp={len(symbols)}, nbnd={bands}", f"ecutwfc={self.ecutwfc}"]
        electrons = [f"conv_thr={self.conv_thr[level]:.1e}", f"mixing_beta={self.mixing_beta}", "electron_maxstep=100"]
        if not self.symmetry:
            system.append("nosym=.true.")
        if level in HYBRID:
            n1, n2, n3 = mesh.divisions
            system += [f"input_dft='{HYBRID[level]}'", f"ecutfock={self.ecutwfc}", f"nqx1={n1}, nqx2={n2}, nqx3={n3}"]
            system += ["x_gamma_extrapolation=.true.", "exxdiv_treatment='gygi-baldereschi'"]
            electrons += ["startingpot='file'", "startingwfc='file'"]
        control = ["calculation='scf', prefix='x', outdir='./out', disk_io='low'", f"pseudo_dir='{self.pseudo_dir}'"]
        control += ["tprnfor=.true., tstress=.true., verbosity='high'"]
        blocks = [("control", control), ("system", system), ("electrons", electrons)]
        lines = [line for name, entries in blocks for line in (f"&{name}", *(f"  {e}" for e in entries), "/")]
        lines.append("ATOMIC_SPECIES")
        for s in symbols:
            lines.append(f"{s} {atomic_masses[chemical_symbols.index(s)]:.6f} {self.pseudopotentials[s]}")
        lines.append("CELL_PARAMETERS angstrom")
        lines += [" ".join(f"{x:.14f}" for x in row) for row in atoms.cell.array]
        lines.append("ATOMIC_POSITIONS angstrom")
        lines += [f"{a.symbol} " + " ".join(f"{x:.14f}" for x in a.position) for a in atoms]
        return "\n".join([*lines, *self._k_lines(mesh), ""])

    def _k_lines(self, mesh: Mesh) -> list[str]:
        halves = [2 * s for s in mesh.shift]
        if all(h in (0.0, 1.0) for h in halves):
            return ["K_POINTS automatic", " ".join(str(int(n)) for n in (*mesh.divisions, *halves))]
        from jaxepi.kpoints import mesh as make_mesh

        k = make_mesh(mesh.divisions, mesh.shift)
        rows = [" ".join(f"{x:.12f}" for x in (*p, w)) for p, w in zip(k.points, k.weights, strict=True)]
        return ["K_POINTS crystal", str(len(rows)), *rows]

    def _run(self, folder: Path, text: str, level: str, atoms: ase.Atoms) -> dict[str, np.ndarray]:
        source, log = folder / f"{level}.in", folder / f"{level}.out"
        source.write_text(text)
        with source.open() as stdin, log.open("w") as stdout:
            in_time = _finished([self.program], folder, self.timeout, stdin=stdin, stdout=stdout)
        if not in_time:
            raise LabelFailure(f"{level}: pw.x ran longer than {self.timeout:.0f} s")
        output = log.read_text(errors="replace")
        if "JOB DONE" not in output:
            raise LabelFailure(f"{level}: pw.x stopped: {_reason(output)}")
        if re.search("convergence NOT achieved", output):
            raise LabelFailure(f"{level}: the self-consistent cycle did not converge")
        if level in HYBRID and "EXX self-consistency reached" not in output:
            raise LabelFailure(f"{level}: the exchange cycle did not converge")
        return read_xml(folder / "out" / "x.xml", atoms)


def _finished(command: list[str], folder: Path, timeout: float, **streams: Any) -> bool:
    """Run a program to its end; False if it took longer than `timeout` seconds, and is stopped.

    It runs in a session of its own, so that a Ctrl-C reaches it through us alone: a run that was interrupted has not failed.

    Raises:
        signals.Interrupted: a signal came, and the program is stopped.
    """
    end = time.monotonic() + timeout
    with signals.postponed():
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.STDOUT, start_new_session=True, **streams)
        try:
            while time.monotonic() < end:
                signals.check()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
                    return True
            return False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _cpu_seconds() -> float:
    """Processor seconds of the children that have ended (this process runs one pw.x at a time)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _version(program: str) -> str:
    """Version that pw.x prints in its banner (it stops at once on an empty input)."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([program], input="", capture_output=True, text=True, cwd=folder, timeout=60, check=False)
    found = re.search(r"PWSCF v\.(\S+)", done.stdout)
    return found.group(1) if found else "unknown"


def _reason(output: str) -> str:
    error = re.search(r"Error in routine.*?\n(.*?)\n", output)
    if error:
        return error.group(0).replace("\n", " ").strip()[:300]
    return (output.strip().splitlines() or ["no output"])[-1].strip()[:300]


def read_xml(path: Path, atoms: ase.Atoms) -> dict[str, np.ndarray]:
    """Energy, forces, stress (ASE's sign: positive is tension) and eigenvalues of one pw.x run, in eV and angstrom.

    Raises:
        LabelFailure: the file is truncated or lacks a result.
    """
    try:
        output = ElementTree.parse(path).getroot().find("output")
    except (OSError, ElementTree.ParseError) as error:
        raise LabelFailure(f"{path.name} cannot be read ({error})") from error
    if output is None:
        raise LabelFailure(f"{path.name} has no results")

    def numbers(where: str) -> np.ndarray:
        node = output.find(where)
        if node is None or not node.text:
            raise LabelFailure(f"{path.name} has no {where}")
        return np.array(node.text.split(), dtype=float)

    structure = output.find("atomic_structure")
    if structure is None:
        raise LabelFailure(f"{path.name} has no atomic_structure")
    alat = float(structure.attrib["alat"]) * Bohr
    points, weights, energies = [], [], []
    for block in output.findall("band_structure/ks_energies"):
        k, e = block.find("k_point"), block.find("eigenvalues")
        if k is None or e is None or not k.text or not e.text:
            raise LabelFailure(f"{path.name}: a k point lacks its eigenvalues")
        points.append([float(x) for x in k.text.split()])
        weights.append(float(k.attrib["weight"]))
        energies.append([float(x) for x in e.text.split()])
    if not points:
        raise LabelFailure(f"{path.name} has no eigenvalues")
    fractional = np.array(points) / alat @ atoms.cell.array.T
    fractional -= np.ceil(fractional - 0.5 - 1e-6)
    w = np.array(weights)
    result = {
        "energy": np.array(numbers("total_energy/etot")[0] * Hartree),
        "forces": numbers("forces").reshape(-1, 3) * Hartree / Bohr,
        "stress": -numbers("stress").reshape(3, 3) * Hartree / Bohr**3,
        "eigenvalues": np.array(energies) * Hartree,
        "kpoints": np.round(fractional, 9) + 0.0,
        "weights": w / w.sum(),
    }
    if any(not np.isfinite(v).all() for v in result.values()):
        raise LabelFailure(f"{path.name} holds NaN")
    return result
