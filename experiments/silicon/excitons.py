"""Silicon with the attraction of electrons and holes, and with phonon energies, over measurement. Nothing is fitted to spectra.

    python experiments/silicon/excitons.py [rest] [sum-rule] [spectra] [peaks] [second-order] [slopes] [--points N ...]
        [--mesh N] [--pairs N] [--temperatures K ...] [--franta FOLDER] [--work WORK]

`rest`: primitive cell of silicon-hse06 and si-niquet2009, lattice at rest, Gaussian of 0.1 eV, beside values measured at 10
K (Franta 2017), and with so many eV on one atom in place of the model dielectric function. `sum-rule`: what the attraction
does to the f-sum, by mesh, bands and dipoles, beyond Tamm-Dancoff too. `spectra`: 64 atoms in antithetic pairs of quantum
snapshots (forces of silicon-hse06), kept snapshot by snapshot in WORK by the study engine: absorption over Green (2008) at
300 K, and over Franta (2017) at the temperatures of which FOLDER has a si_eps_<T>K_franta2017.csv, independent, with phonon
energies, with attraction and with both, +- standard error over pairs; all transitions are shifted by what the thermal gap
lacks to the measured one. `peaks`: E1, E2 and eps1(0) of the same snapshots, not shifted, beside what FOLDER has of Franta
and of Aspnes. `second-order`: the tail by perturbation theory, in the same columns (tail.py has it in narrower lines).
`slopes`: d ln alpha/dT in the tail, by differentiation and by finite differences.
"""

import argparse
import os
import platform
import time
from datetime import date
from functools import partial
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402

import jaxepi as je  # noqa: E402
from jaxepi.hamiltonians import dipoles  # noqa: E402
from jaxepi.materials import measured  # noqa: E402
from jaxepi.optics.bethe_salpeter.pairs import product  # noqa: E402
from jaxepi.optics.bethe_salpeter.setup import Setup  # noqa: E402
from jaxepi.tree import replace  # noqa: E402
from jaxepi.workflows.absorption import AbsorptionResult, AbsorptionSettings, absorption  # noqa: E402
from jaxepi.workflows.quanta import put_back  # noqa: E402

HERE = Path(__file__).parent
AT = np.array([1.2, 1.3, 1.5, 1.8, 2.2, 2.6, 3.0, 3.4, 4.0])
WIDTH = 0.05  # eV
RYDBERG = 0.0147  # eV, of silicon's indirect exciton (Shaklee and Nahory, Phys. Rev. Lett. 24, 942 (1970))
TAIL = 2.2  # eV: below, the sample of snapshots of 64 atoms is coarse
DIRECT = 3.0  # eV: below, silicon absorbs with phonons alone
WINDOWS = {"E1": (3.1, 3.75), "E2": (4.0, 5.0)}
MEASURED = "measured, 10 K (Franta 2017)        E1 3.46 eV, 42.1   E2 4.29 eV, 48.1"


def peaks(energies: np.ndarray, eps2: np.ndarray) -> str:
    """Largest eps2 in the windows of E1 and E2."""
    out = []
    for name, (low, high) in WINDOWS.items():
        inside = (energies >= low) & (energies <= high)
        at = int(eps2[inside].argmax())
        place = (
            "no peak" if at in (0, inside.sum() - 1) else f"{energies[inside][at]:.2f} eV"
        )  # still rising at an edge
        out.append(f"{name} {place}, {eps2[inside].max():.1f}")
    return "   ".join(out)


def rest(options: argparse.Namespace) -> None:
    """The primitive cell at rest."""
    energies, line = jnp.linspace(1.0, 6.0, 501), je.optics.Gaussian(0.1)
    n = options.points[0]
    cases: list[tuple[str, int, float | None]] = [("silicon-hse06", m, None) for m in options.points]
    cases += [("silicon-hse06", n, u) for u in (1.0, 2.0, 3.0)] + [("si-niquet2009", n, None)]
    for name, n, onsite in cases:
        silicon = je.materials.load("silicon", hamiltonian=name)
        screening = silicon.screening if onsite is None else with_onsite(silicon, onsite)
        begun = time.process_time()
        found = je.optics.excitons(
            silicon.hamiltonian, silicon.primitive, n, screening, 4, 5, 200, [[1, 0, 0]], precision="float32"
        )
        seconds = time.process_time() - begun
        changed = found.convergence(energies, line)
        both = {"independent": found.independent, "with attraction": found.transitions()}
        for what, binned in both.items():
            eps1, area = float(binned.static_eps1()[0]), float(binned.f_sum()[0])
            text = f"{name}, {n}^3, {float(screening.onsite):.2f} eV on one atom, {what}"
            print(f"{text:62s} {peaks_of(binned, 0.0, 0.1)}   eps1(0) {eps1:.2f}   f-sum {area:.3f}")
        print(
            f"    last fifth of 200 steps changed eps2 by {changed:.1e} of its maximum; {seconds:.0f} s of processor",
            flush=True,
        )
    print(MEASURED)


def with_onsite(silicon: je.materials.Material, onsite: float) -> je.optics.Screening:
    """Screening over the Thomas-Fermi length, with so many eV on one atom."""
    return je.optics.screening_of(silicon.hamiltonian, silicon.primitive, silicon.screening.eps0, onsite)


def study(options: argparse.Namespace, temperature: float) -> AbsorptionResult:
    """Spectra of one temperature, computed, or read where they are those of the same settings and models."""
    settings = AbsorptionSettings(
        crystal="silicon",
        hamiltonian="silicon-hse06",
        potential="silicon-hse06",
        temperatures=(temperature,),
        snapshots=2 * options.pairs,
        twists=8,
        excitons=True,
        exciton_mesh=3 * options.mesh,
        exciton_steps=160,
        exciton_directions="one",
        phonon_energies=True,
        energies=(0.6, 5.6, 501),
        equilibrium_points=2000,
        width=WIDTH,
        workers=1,
    )
    return absorption(settings, options.work / f"spectra-{temperature:g}-{options.mesh}-{options.pairs}.h5")


def reference(options: argparse.Namespace, temperature: float) -> tuple[str, np.ndarray] | None:
    """Measured absorption at `AT`, 1/cm, and by whom."""
    if temperature == 300:
        table = measured.absorption("silicon")[0]
        return "Green 2008", np.exp(np.interp(AT, table.energies, np.log(table.absorption)))
    found = franta(options, temperature)
    return None if found is None else ("Franta 2017", np.exp(np.interp(AT, found[0], found[1])))


def franta(options: argparse.Namespace, temperature: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Energies (eV) and the logarithm of absorption (1/cm), where the file is there."""
    table = measured_table(options.franta / f"si_eps_{temperature:g}K_franta2017.csv")
    if table is None:
        return None
    energy, alpha = table["E_eV"], table["alpha_cm1"]
    good = np.isfinite(alpha) & (alpha > 0)
    order = np.argsort(energy[good])
    return energy[good][order], np.log(alpha[good][order])


def measured_table(path: Path) -> np.ndarray | None:
    """Columns of a file by name, where it is there."""
    if not path.exists():
        return None
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return np.genfromtxt(lines, delimiter=",", names=True)


def columns(result: AbsorptionResult, shift: float) -> dict[str, je.optics.Spectrum]:
    """The four spectra, all transitions shifted."""
    line, energies = je.optics.Gaussian(WIDTH), jnp.linspace(*result.settings.energies)
    gaps = [gap + shift for gap in result.thermal_gaps]
    put = partial(put_back, result.assisted, result.edges, gaps, result.temperatures, 0.0)
    alone = result.transitions[0].spectrum(energies, line, shift)
    pairs = result.pairs[0].spectrum(energies, line, shift)
    return {
        "independent": alone,
        "with phonon energies": put((alone,), result.equilibrium)[0],
        "with attraction": pairs,
        "with both": put((pairs,), result.equilibrium_attracted)[0],
    }


def spectra(options: argparse.Namespace) -> None:
    """Four columns a temperature, over measurement."""
    print(
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores; 64 atoms, {2 * options.pairs} snapshots, k mesh of"
    )
    print(
        f"{options.mesh}^3 points shifted by half divisions, Gaussian of {1e3 * WIDTH:g} meV, 160 steps; over measured"
    )
    for temperature in options.temperatures:
        result, known = study(options, temperature), reference(options, temperature)
        gap = result.thermal_gaps[0]
        shift = measured.gap("silicon").at(temperature) - gap
        values = np.ones(len(AT)) if known is None else known[1]
        print(
            f"{temperature:g} K, {known[0] if known else 'no measurement'}: gap {gap:.3f} eV, shifted by {shift:+.3f} eV"
        )
        print(f"{'':28s}" + "".join(f"{e:7.1f}       " for e in AT) + "   eps1(0)")
        found = columns(result, shift)
        for what, spectrum in found.items():
            _row(what, spectrum, values)
        print(f"peaks with attraction {peaks_of(result.pairs[0], 0.0)}; shifted {peaks_of(result.pairs[0], shift)}")
        joined(result, found, gap + shift, values)
        picture(options, temperature, result, found)


def critical(energies: np.ndarray, eps2: np.ndarray) -> str:
    """Where the second derivative of eps2 is deepest near E1: a shoulder has a place, too."""
    fine = np.arange(3.1, 3.75, 0.01)
    values = np.interp(fine, energies, eps2)
    second = np.diff(values, 2)
    at = 1 + int(second.argmin())
    return f"deepest bend {fine[at]:.2f} eV, {values[at]:.1f}"


def at_temperatures(options: argparse.Namespace) -> None:
    """E1, E2 and eps1(0) with attraction, of snapshots, as they are."""
    energies = jnp.linspace(0.0, 6.0, 601)
    for temperature in options.temperatures:
        result = study(options, temperature)
        print(f"{temperature:g} K, 64 atoms, {len(result.pairs[0])} snapshots of {options.mesh}^3 points, not shifted")
        for what, binned in (("independent", result.transitions[0]), ("with attraction", result.pairs[0])):
            for width in (WIDTH, 2 * WIDTH):
                spectrum = binned.spectrum(energies, je.optics.Gaussian(width))
                eps1, eps2 = spectrum.mean()
                curve = np.asarray(energies), np.asarray(eps2)
                text = f"{what}, Gaussian of {1e3 * width:g} meV"
                print(f"{text:38s} {peaks(*curve)}   {critical(*curve)}   eps1(0) {float(eps1[0]):.2f}")
        for name in (f"si_eps_{temperature:g}K_franta2017", "si_eps_rt_aspnes_studna1983"):
            table = measured_table(options.franta / f"{name}.csv") if "rt" not in name or temperature == 300 else None
            if table is not None:
                order = np.argsort(table["E_eV"])
                energy, eps2 = table["E_eV"][order], table["eps2"][order]
                print(f"{'measured, ' + name:38s} {peaks(energy, eps2)}   {critical(energy, eps2)}")
    print(MEASURED + "   eps1(0) 11.7")


def peaks_of(binned: je.optics.Transitions, shift: float, width: float = WIDTH) -> str:
    spectrum = binned.spectrum(jnp.linspace(1.0, 6.0, 501), je.optics.Gaussian(width), shift)
    return peaks(np.asarray(spectrum.energies), np.asarray(spectrum.mean()[1]))


def _row(what: str, spectrum: je.optics.Spectrum, values: np.ndarray) -> None:
    energies, alpha = np.asarray(spectrum.energies), np.asarray(spectrum.absorption())
    error = np.asarray(spectrum.standard_error())
    ratio, bar = (
        np.exp(np.interp(AT, energies, np.log(np.maximum(alpha, 1e-9)))) / values,
        np.interp(AT, energies, error),
    )
    text = "".join(f"{r:7.2f} +-{e:4.2f} " for r, e in zip(ratio, bar / values, strict=True))
    print(f"{what:28s}{text}   {float(spectrum.mean()[0][0]):.2f}", flush=True)


def joined(result: AbsorptionResult, found: dict[str, je.optics.Spectrum], gap: float, values: np.ndarray) -> None:
    """Elliott's closed form near the edge, brute force above: both where they overlap, and joined with phonon energies."""
    alone, pairs = found["independent"], found["with attraction"]
    energies = np.asarray(pairs.energies)
    means = [s.mean()[1] for s in (alone, pairs)]
    tail = je.optics.join_tail(pairs.energies, *means, gap, RYDBERG, overlap=(0.3, 0.8))
    at = gap + np.array([0.3, 0.4, 0.5, 0.6, 0.8, 1.1])
    ratio = np.interp(at, energies, np.asarray(means[1] / jnp.where(means[0] > 0, means[0], 1.0)))
    closed = np.asarray(je.optics.elliott_factor(jnp.asarray(at - gap), RYDBERG))
    pieces = (f"{e - gap:.1f}: {a:.2f}, {b:.2f}" for e, a, b in zip(at, closed, ratio, strict=True))
    print(f"factor of the attraction, Elliott and brute force, eV over the gap: {'; '.join(pieces)}")
    scale = tail.eps2 / jnp.where(means[1] > 0, means[1], 1.0)
    elliott = replace(pairs, eps2=pairs.eps2 * scale[None, :, None, None])
    gaps = (gap,)
    both = put_back(
        result.assisted, result.edges, gaps, result.temperatures, 0.0, (elliott,), result.equilibrium_attracted
    )[0]
    _row("with both, joined", both, values)
    found["with both, joined"] = both


def second_order(options: argparse.Namespace) -> None:
    """The sum over wave vectors of the primitive cell, without snapshots: converged, but to second order alone."""
    result = study(options, 300.0)
    energies = np.asarray(result.assisted.energies)
    for temperature in options.temperatures:
        known = reference(options, temperature)
        print(
            f"second order, {temperature:g} K, over {known[0] if known else 'nothing'}"
            + "".join(f"{e:7.1f}" for e in AT)
        )
        for what, alpha in perturbed(result, temperature).items():
            ratio = np.interp(AT, energies, alpha) / (1.0 if known is None else known[1])
            text = "".join(f"{r:7.2f}" for e, r in zip(AT, ratio, strict=True) if e < DIRECT)
            print(f"{what:38s}{text}", flush=True)


def perturbed(result: AbsorptionResult, temperature: float) -> dict[str, np.ndarray]:
    """Absorption of the infinite cell to second order, 1/cm, at the energies of `assisted`."""
    energies, gap = result.assisted.energies, measured.gap("silicon").at(temperature)
    eps1 = result.pairs[0].spectrum(energies, je.optics.Gaussian(WIDTH)).mean()[0]
    modes = result.assisted.at(temperature).aligned(gap - float(result.edges.gap))
    factor = je.optics.elliott_factor(jnp.maximum(energies - gap, RYDBERG), RYDBERG)
    attracted = replace(modes, parts=modes.parts * factor[None])
    kinds = {
        "independent": modes.parts,
        "with phonon energies": modes.shifted(),
        "with attraction": attracted.parts,
        "with both": attracted.shifted(),
    }
    return {what: np.asarray(je.optics.absorption(energies, eps1, parts.sum(axis=0))) for what, parts in kinds.items()}


def picture(options: argparse.Namespace, temperature: float, result: AbsorptionResult, found: dict) -> None:
    """Independent, with attraction, with both, beside what was measured; the tail of the infinite cell with both."""
    from jaxepi import plotting

    known = measured.absorption("silicon") if temperature == 300 else []
    figure = plotting.absorption(
        [found["independent"]],
        [temperature],
        None,
        known,
        f"silicon, 64 atoms, {2 * options.pairs} snapshots",
        attracted=[found["with attraction"]],
        quanta=[found["with both, joined"]],
    )
    axes, energies = figure.axes[0], np.asarray(result.assisted.energies)
    tail = energies < TAIL
    label = "infinite cell, second order, with both"
    axes.plot(energies[tail], perturbed(result, temperature)["with both"][tail], "k-", lw=1, label=label)
    axes.legend(
        *axes.get_legend_handles_labels(), title="shaded: range of the snapshots", loc="lower right", fontsize=8
    )
    figure.savefig(options.work / f"excitons-{temperature:g}.png", dpi=150)


def slopes(options: argparse.Namespace) -> None:
    """d ln alpha/dT in the tail: second order, with the measured gap, differentiated by temperature; and measured."""
    result = study(options, 300.0)
    table = measured.gap("silicon")
    moving = jnp.asarray(table.temperatures), jnp.asarray(table.gaps)
    at, energies = jnp.array([1.5, 2.0, 2.5]), result.assisted.energies

    def logarithm(temperature, kind):
        gap = jnp.interp(temperature, *moving)
        modes = result.assisted.at(temperature).aligned(gap - float(result.edges.gap))
        eps2 = (modes.shifted() if kind == "quanta" else modes.parts).sum(axis=0)
        factor = je.optics.elliott_factor(at - gap, RYDBERG)
        return jnp.log(jnp.interp(at, energies, eps2) * factor)

    print("d ln alpha/dT, 1e-3/K, at 1.5, 2.0, 2.5 eV (second order, the measured gap, Elliott's factor)")
    for kind in ("adiabatic", "quanta"):
        slope = jax.jacfwd(logarithm)(260.0, kind)
        step = (logarithm(261.0, kind) - logarithm(259.0, kind)) / 2
        mean = (logarithm(400.0, kind) - logarithm(100.0, kind)) / 300
        apart = float(jnp.abs(slope / step - 1).max())
        print(
            f"{kind:12s} at 260 K {1e3 * slope}; finite differences within {apart:.1e}; mean of 100 to 400 K {1e3 * mean}"
        )
    known = [franta(options, t) for t in (100.0, 200.0, 300.0, 400.0)]
    if all(k is not None for k in known):
        cold, cool, warm, hot = (np.interp(np.asarray(at), *k) for k in known)
        print(f"measured     200 to 300 K {10 * (warm - cool)}; mean of 100 to 400 K {1e3 * (hot - cold) / 300}")


def sum_rule(options: argparse.Namespace) -> None:
    """The f-sum <r|H|r>, over that of the electrons: what the attraction does to it, on meshes, with bands and dipoles."""
    loaded = je.materials.load("silicon", hamiltonian="silicon-hse06")
    bare = dipoles.with_dipoles(loaded.hamiltonian, jnp.zeros(len(dipoles.free(loaded.hamiltonian))))
    n, models = options.points[0], {"": loaded.hamiltonian, ", no dipoles inside atoms": bare}
    cases: list[tuple[int, int, float | None, str]] = [(m, 16, None, "") for m in options.points]
    cases += [(n, c, None, "") for c in (5, 8)] + [(n, 16, u, "") for u in (0.0, 1.0, 2.0, 3.0)]
    cases.append((n, 16, None, list(models)[1]))
    print(f"{'f-sum of silicon-hse06':68s} independent   Tamm-Dancoff   beyond   over independent")
    for m, conduction, onsite, model in cases:
        cell, hamiltonian = loaded.primitive, models[model]
        graph, screening = hamiltonian.graph(cell), loaded.screening if onsite is None else with_onsite(loaded, onsite)
        setup = Setup.of(hamiltonian, cell, m, 4, conduction, [[1, 0, 0]], (0.5, 0.5, 0.5), "float64", halved=True)
        pairs, _ = setup.pairs(hamiltonian, cell, graph, screening, True, None)
        free = replace(pairs, attraction=jnp.zeros_like(pairs.attraction), exchange=None)
        r, density = pairs.dipoles[0], hamiltonian.basis.occupied(cell.species) * setup.degeneracy / cell.volume
        whole = 2 * jnp.pi**2 * je.units.COULOMB * je.units.HBAR2_PER_ELECTRON_MASS * density / setup.scale(cell)
        sums = [
            float(jnp.vdot(r, product(held, r, sign)).real / whole)
            for held, sign in ((free, 0), (pairs, 0), (pairs, -1))
        ]
        text = f"{m}^3 points, 4 x {conduction} bands, {float(screening.onsite):.2f} eV on one atom{model}"
        print(f"{text:68s} {sums[0]:11.3f}   {sums[1]:12.3f}   {sums[2]:6.3f}", end="")
        print(f"   {sums[1] / sums[0]:.3f} {sums[2] / sums[0]:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = {"rest": rest, "sum-rule": sum_rule, "spectra": spectra, "peaks": at_temperatures}
    names |= {"second-order": second_order, "slopes": slopes}
    parser.add_argument("parts", nargs="*", default=list(names), help=", ".join(names))
    parser.add_argument("--points", type=int, nargs="*", default=[10, 12, 14], help="points a direction, at rest")
    parser.add_argument("--mesh", type=int, default=4, help="k points a direction of the snapshots")
    parser.add_argument("--pairs", type=int, default=2, help="antithetic pairs of snapshots")
    parser.add_argument("--temperatures", type=float, nargs="*", default=[300.0])
    parser.add_argument("--franta", type=Path, default=HERE / "data", help="folder of si_eps_<T>K_franta2017.csv")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder of the results (default: beside this)")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        names[part](options)


if __name__ == "__main__":
    main()
