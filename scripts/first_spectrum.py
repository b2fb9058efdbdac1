"""Which small settings give a first spectrum that looks like silicon: ratios to Green (2008) at 300 K, and seconds.

    python scripts/first_spectrum.py [NAME ...]

For each choice of cell, snapshots and k points: calculated over measured absorption at photon energies, once for each width of
the broadening; then seconds of the first call (compilation included) and of a second one with other random numbers, each
followed by those of the processor.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxepi as je

ENERGIES = (1.2, 1.3, 1.5, 1.8, 2.2, 2.6, 3.0, 3.4, 4.0)
WIDTHS = (0.01, 0.02, 0.03)
CHOICES = {
    "8 atoms, 20 snapshots, 64 k": ("structure", 1, 20, 64),
    "16 atoms, 8 snapshots, 64 k": ("primitive", 2, 8, 64),
    "16 atoms, 20 snapshots, 64 k": ("primitive", 2, 20, 64),
    "54 atoms, 2 snapshots, 8 k": ("primitive", 3, 2, 8),
    "54 atoms, 2 snapshots, 24 k": ("primitive", 3, 2, 24),
    "54 atoms, 4 snapshots, 16 k": ("primitive", 3, 4, 16),
    "64 atoms, 4 snapshots, mesh 2": ("structure", 2, 4, None),
}


def main() -> None:
    """Print the table."""
    jax.config.update("jax_enable_x64", True)
    silicon = je.materials.load("silicon")
    (table,) = je.materials.measured.absorption("silicon")
    energies = jnp.linspace(1.0, 5.0, 401)
    at = np.array(ENERGIES)
    known = np.exp(np.interp(at, table.energies, np.log(table.absorption)))
    print(
        "choice | width (meV) | "
        + " | ".join(f"{e:g} eV" for e in ENERGIES)
        + " | fit gap, residual | first, CPU, second, CPU (s)"
    )
    for name in sys.argv[1:] or CHOICES:
        cell, repeats, count, points = CHOICES[name]
        supercell = getattr(silicon, cell).supercell(repeats)
        kmesh = 2 if points is None else je.kpoints.quasirandom(points)
        seconds = []
        for seed in (0, 1):
            begun = time.perf_counter(), time.process_time()
            drawn = je.sampling.harmonic(
                silicon.potential, supercell, temperature=300.0, count=count, key=jax.random.key(seed)
            )
            kept = je.optics.transitions(silicon.hamiltonian, drawn, kmesh, tensor=False)
            jax.block_until_ready(kept.spectrum(energies, je.optics.Gaussian(0.02)).absorption())
            seconds += [time.perf_counter() - begun[0], time.process_time() - begun[1]]
        for width in WIDTHS:
            spectrum = kept.spectrum(energies, je.optics.Gaussian(width))
            found = np.exp(np.interp(at, energies, np.log(np.maximum(spectrum.absorption(), 1e-9))))
            fit = je.optics.tauc_fit(energies, spectrum.mean()[1], "indirect", silicon.tauc_window)
            print(
                f"{name} | {1e3 * width:g} | "
                + " | ".join(f"{ratio:.2f}" for ratio in found / known)
                + f" | {float(fit.gap):.3f}, {float(fit.residual):.3f} | {', '.join(f'{s:.0f}' for s in seconds)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
