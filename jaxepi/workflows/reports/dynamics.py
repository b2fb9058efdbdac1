"""A run of molecular dynamics as text: averages and how far they can be trusted."""

from typing import Any

import numpy as np

from jaxepi.sampling import Trajectory
from jaxepi.sampling.averages import average, canonical
from jaxepi.units import KB
from jaxepi.workflows.dynamics import Run


def summary_lines(run: Run) -> list[str]:
    """What happened, a line a temperature: averages over the last three quarters of the frames, with standard errors."""
    trajectory, settings = run.trajectory, run.settings
    atoms, frames = len(trajectory.structure), len(trajectory.times)
    lines = [
        f"{atoms} atoms, {settings.ensemble}, {frames} frames to {float(trajectory.times[-1]) / 1e3 if frames else 0:g} ps, "
        f"{settings.replicas} run(s) a temperature; averages over the last three quarters"
    ]
    if settings.beads > 1:
        lines[0] += f"; ring polymers of {settings.beads} beads"
    if frames < 4:
        return lines
    nve = settings.ensemble == "nve"
    lines.append("target K     mean K        spread K  canonical   closest A   novelty" + "   drift meV/atom/ps" * nve)
    late = slice(frames // 4, None)
    times = np.asarray(trajectory.times[late]) / 1e3
    for t, target in enumerate(settings.temperatures):
        kelvin = average(_by_replica(trajectory.kinetic_temperatures[t, late], settings.replicas))
        _, variance = canonical(target, atoms)
        spread = f"{kelvin.variance**0.5:8.1f} {(variance / settings.beads) ** 0.5:10.1f}"
        kept = f"{run.closest[t].min():11.3f} {run.novelty[t].max():9.2f}"
        drift = 1e3 * np.polyfit(times, np.asarray(trajectory.energies[t, late]).mean(axis=1), 1)[0] / atoms
        last = f"{drift:20.4f}" if nve else ""
        lines.append(f"{target:8g} {kelvin.mean:10.1f} +- {kelvin.mean_error:5.1f} {spread} {kept}{last}")
        if settings.beads > 1:
            lines.append(f"{'':8} {_quantum_energy(trajectory, t, late, settings.replicas)}")
    return lines


def _by_replica(values: Any, replicas: int) -> np.ndarray:
    """Values of frames and replicas, means over the beads of each."""
    array = np.asarray(values, dtype=float)
    return array.reshape(len(array), replicas, -1).mean(axis=2)


def _quantum_energy(trajectory: Trajectory, t: int, late: slice, replicas: int) -> str:
    """Energy of the nuclei by the centroid virial, per atom, as text."""
    atoms, classical = len(trajectory.structure), float(trajectory.temperatures[t]) * KB
    total = average(_by_replica(trajectory.energies[t, late] - trajectory.potential_energies[t, late], replicas))
    freedom = (3 * atoms - 3) / (2 * atoms)
    return (
        f"kinetic energy {1e3 * total.mean / atoms:.2f} +- {1e3 * total.mean_error / atoms:.2f} meV an atom by the "
        f"centroid virial, {1e3 * freedom * classical:.2f} if classical"
    )
