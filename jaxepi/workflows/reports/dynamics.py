"""A run of molecular dynamics as text: averages and how far they can be trusted."""

import numpy as np

from jaxepi.sampling.averages import average, canonical
from jaxepi.workflows.dynamics import Run


def summary_lines(run: Run) -> list[str]:
    """What happened, a line a temperature: averages over the last three quarters of the frames, with standard errors."""
    trajectory, settings = run.trajectory, run.settings
    atoms, frames = len(trajectory.structure), len(trajectory.times)
    lines = [
        f"{atoms} atoms, {settings.ensemble}, {frames} frames to {float(trajectory.times[-1]) / 1e3 if frames else 0:g} ps, "
        f"{settings.replicas} run(s) a temperature; averages over the last three quarters"
    ]
    if frames < 4:
        return lines
    nve = settings.ensemble == "nve"
    lines.append("target K     mean K        spread K  canonical   closest A   novelty" + "   drift meV/atom/ps" * nve)
    late = slice(frames // 4, None)
    times = np.asarray(trajectory.times[late]) / 1e3
    for t, target in enumerate(settings.temperatures):
        kelvin = average(np.asarray(trajectory.kinetic_temperatures[t, late], dtype=float))
        _, variance = canonical(target, atoms)
        spread = f"{kelvin.variance**0.5:8.1f} {variance**0.5:10.1f}"
        kept = f"{run.closest[t].min():11.3f} {run.novelty[t].max():9.2f}"
        drift = 1e3 * np.polyfit(times, np.asarray(trajectory.energies[t, late]).mean(axis=1), 1)[0] / atoms
        last = f"{drift:20.4f}" if nve else ""
        lines.append(f"{target:8g} {kelvin.mean:10.1f} +- {kelvin.mean_error:5.1f} {spread} {kept}{last}")
    return lines
