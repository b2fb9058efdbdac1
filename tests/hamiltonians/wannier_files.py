"""Files of Wannier90 as its user guide describes them, made from a published set folded onto a k mesh."""

import itertools

import jax
import numpy as np
from ase.build import bulk

from jaxepi import hamiltonians
from jaxepi.hamiltonians import hamiltonian_k
from jaxepi.structure import Structure


class Case:
    """A published crystal and its H(R) on the mesh of an ab initio calculation, in mixed orbitals with own centres."""

    def __init__(self, divisions=4, seed=0, mixed=True):
        self.model = hamiltonians.load("si-vogl1983")
        self.crystal = Structure.from_ase(bulk("Si", a=5.43))
        self.graph = self.model.graph(self.crystal)
        self.cell = np.asarray(self.crystal.cell)
        rng = np.random.default_rng(seed)
        blocks = [np.linalg.qr(rng.normal(size=(5, 5)))[0] for _ in range(2)] if mixed else [np.eye(5)] * 2
        mixing = np.zeros((10, 10))
        mixing[:5, :5], mixing[5:, 5:] = blocks
        self.atoms = np.repeat(np.asarray(self.crystal.positions), 5, axis=0)
        self.centres = self.atoms + rng.uniform(-0.4, 0.4, (10, 3))
        n = self.divisions = divisions
        mesh = np.array(list(itertools.product(range(n), repeat=3))) / n
        gauge = np.exp(
            2j * np.pi * mesh @ np.linalg.inv(self.cell).T @ self.atoms.T
        )  # atomic gauge to that of the cell
        bands = jax.jit(jax.vmap(lambda k: hamiltonian_k(self.model, self.crystal, self.graph, k)[0]))(mesh)
        h = np.einsum("im,kij,jn->kmn", mixing, gauge[:, :, None] * np.asarray(bands) * gauge[:, None].conj(), mixing)
        self.vectors, self.degeneracies = wigner_seitz(self.cell, n)
        fourier = np.exp(-2j * np.pi * self.vectors @ mesh.T) / n**3
        self.matrices = np.einsum("rk,kmn->rmn", fourier, h)

    def direct(self, k, where=None):
        """H(k) summed from the file's content with orbitals at `where` (the origin: gauge of the cell)."""
        where = np.zeros((10, 3)) if where is None else np.asarray(where)
        q = 2 * np.pi * np.linalg.inv(self.cell) @ np.asarray(k)
        apart = (self.vectors @ self.cell)[:, None, None] + where[None, None] - where[None, :, None]
        return (np.exp(1j * apart @ q) * self.matrices / self.degeneracies[:, None, None]).sum(axis=0)

    def write(self, folder, seed="si", win="", matrices=None, centres=None):
        """The files of a run, in the formats of the user guide."""
        matrices = self.matrices if matrices is None else matrices
        lines = [" written on 20Nov2026 at 12:00:00", f"{10:12d}", f"{len(self.vectors):12d}"]
        for start in range(0, len(self.vectors), 15):
            lines.append("".join(f"{d:5d}" for d in self.degeneracies[start : start + 15]))
        for vector, matrix in zip(self.vectors, matrices, strict=True):
            for n, m in itertools.product(range(10), repeat=2):
                ends = "".join(f"{i:5d}" for i in (*vector, m + 1, n + 1))
                lines.append(f"{ends}{matrix[m, n].real:12.6f}{matrix[m, n].imag:12.6f}")
        (folder / f"{seed}_hr.dat").write_text("\n".join(lines) + "\n")
        xyz = ["    12", " Wannier centres, written by Wannier90 on20Nov2026 at 12:00:00"]
        centres = self.centres if centres is None else centres
        xyz += ["X      " + "   ".join(f"{x:14.8f}" for x in c) for c in centres]
        xyz += ["Si     " + "   ".join(f"{x:14.8f}" for x in c) for c in np.asarray(self.crystal.positions)]
        (folder / f"{seed}_centres.xyz").write_text("\n".join(xyz) + "\n")
        rows = "\n".join(" ".join(f"{x / 0.529177210903:.10f}" for x in v) for v in self.cell)
        win += "" if "use_ws_distance" in win else "\nuse_ws_distance = .false."
        n = self.divisions
        text = f"num_wann = 10 ! all\nwrite_hr : true\nmp_grid {n} {n} {n}\n{win}\n"
        text += f"Begin Unit_Cell_Cart\nbohr\n{rows}\nEnd Unit_Cell_Cart\n"
        text += "begin atoms_frac\nSi1 0.0 0.0 0.0\nSi2 0.25 2.5d-1 0.25\nend atoms_frac\n"
        (folder / f"{seed}.win").write_text(text)
        return folder / f"{seed}_hr.dat"

    def write_ws(self, folder, header="with use_ws_distance=.true."):
        """The vectors T that bring each pair of orbitals closest together."""
        period = self.divisions * (np.indices((3, 3, 3)).reshape(3, -1).T - 1)
        lines = [f"## written on 20Nov2026 at 12:00:00  {header}"]
        for r in self.vectors:
            for m, n in itertools.product(range(10), repeat=2):
                apart = np.linalg.norm(self.atoms[n] - self.atoms[m] + (r + period) @ self.cell, axis=1)
                near = period[apart < apart.min() + 1e-5]
                lines += ["".join(f"{x:5d}" for x in (*r, m + 1, n + 1)), f"{len(near):5d}"]
                lines += ["".join(f"{x:5d}" for x in t) for t in near]
        (folder / "si_wsvec.dat").write_text("\n".join(lines) + "\n")


def wigner_seitz(cell, n):
    """Lattice vectors in the Wigner-Seitz cell of the mesh's supercell, and how many share a place on its faces."""
    grid = np.indices((4 * n + 1,) * 3).reshape(3, -1).T - 2 * n
    periods = n * (np.indices((5, 5, 5)).reshape(3, -1).T - 2)
    length = np.linalg.norm((grid[:, None] - periods[None]) @ cell, axis=2)
    own = np.linalg.norm(grid @ cell, axis=1)
    inside = own < length.min(axis=1) + 1e-6
    return grid[inside], (length[inside] < own[inside, None] + 1e-6).sum(axis=1)
