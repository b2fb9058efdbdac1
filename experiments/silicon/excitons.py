"""Silicon with the attraction of electrons and holes: E1 and E2 at rest, and a thermal snapshot of 64 atoms over measurement.

    python experiments/silicon/excitons.py [rest] [phonons] [snapshot] [--points N ...] [--mesh N] [--steps N] [--work WORK]

`rest`: primitive cell of silicon-hse06 and si-niquet2009, lattice at rest, 10 to 14 points a direction, Gaussian of 0.1 eV,
beside values measured at 10 K (Franta 2017) and the effect of the on-site attraction. `snapshot`: one quantum snapshot of 64
atoms with silicon-hse06, one direction of light, 50 meV: absorption over Green (2008) without and with attraction and phonon
energies (those of the 16-atom cell's modes), and without and with a rigid shift. The snapshot keeps its states and every 10th
step in WORK and goes on from there.
"""

import argparse
import os
import platform
import time
from datetime import date
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402

import jaxepi as je  # noqa: E402
from jaxepi.materials import measured  # noqa: E402
from jaxepi.optics.dielectric import DEFAULT_GRID  # noqa: E402
from jaxepi.optics.excitons import lanczos  # noqa: E402
from jaxepi.optics.excitons.pairs import Pairs, product  # noqa: E402
from jaxepi.optics.excitons.setup import Setup  # noqa: E402

HERE = Path(__file__).parent
AT = np.array([1.2, 1.3, 1.5, 1.8, 2.2, 2.6, 3.0, 3.4, 4.0])
WINDOWS = {"E1": (3.1, 3.75), "E2": (4.0, 5.0)}
MEASURED = "measured, 10 K (Franta 2017)        E1 3.46 eV, 42.1   E2 4.29 eV, 48.1"


def peaks(spectrum: je.optics.Spectrum) -> str:
    """Largest eps2 in the windows of E1 and E2, and eps1 at zero frequency."""
    energies, eps2 = np.asarray(spectrum.energies), np.asarray(spectrum.mean()[1])
    out = []
    for name, (low, high) in WINDOWS.items():
        inside = (energies >= low) & (energies <= high)
        out.append(f"{name} {energies[inside][eps2[inside].argmax()]:.2f} eV, {eps2[inside].max():.1f}")
    return "   ".join(out)


def rest(options: argparse.Namespace) -> None:
    """The primitive cell at rest."""
    energies, line = jnp.linspace(1.0, 6.0, 501), je.optics.Gaussian(0.1)
    cases = [("silicon-hse06", n, 2.0) for n in options.points] + [
        ("silicon-hse06", options.points[0], u) for u in (1.0, 3.0)
    ]
    cases += [("si-niquet2009", options.points[0], 2.0)]
    for name, n, onsite in cases:
        silicon = je.materials.load("silicon", hamiltonian=name)
        screening = je.optics.screening_of(silicon.hamiltonian, silicon.primitive, silicon.screening.eps0, onsite)
        begun = time.process_time()
        found = je.optics.excitons(
            silicon.hamiltonian, silicon.primitive, n, screening, 4, 5, 200, [[1, 0, 0]], precision="float32"
        )
        seconds = time.process_time() - begun
        changed = found.convergence(energies, line)
        both = {"independent": found.independent, "with attraction": found.transitions()}
        for what, binned in both.items():
            eps1, area = float(binned.static_eps1()[0]), float(binned.f_sum()[0])
            text = f"{name}, {n}^3, U {onsite:g} eV, {what}"
            print(f"{text:52s} {peaks(binned.spectrum(energies, line))}   eps1(0) {eps1:.2f}   f-sum {area:.3f}")
        print(
            f"    last fifth of 200 steps changed eps2 by {changed:.1e} of its maximum; {seconds:.0f} s of processor",
            flush=True,
        )
    print(MEASURED)


def kept(path: Path, make):
    """Arrays from a file, or made and written there."""
    if not path.exists():
        arrays = make()
        with path.with_suffix(".tmp").open("wb") as file:
            np.savez(file, **arrays)
        path.with_suffix(".tmp").rename(path)
    with np.load(path) as held:
        return dict(held)


def snapshot(options: argparse.Namespace) -> None:
    """One snapshot of 64 atoms."""
    silicon = je.materials.load("silicon", hamiltonian="silicon-hse06")
    supercell = silicon.structure.supercell(2)
    key = jax.random.key(0)
    drawn = je.sampling.harmonic(silicon.potential, supercell, temperature=options.temperature, count=2, key=key).take(
        [0]
    )
    moved = supercell.with_positions(drawn.positions[0])
    graph = silicon.hamiltonian.graph(supercell)
    setup = Setup.of(silicon.hamiltonian, supercell, options.mesh, 110, 130, [[1, 0, 0]], (0.5, 0.5, 0.5), "float32")
    stem = options.work / f"excitons-{options.temperature:g}-{options.mesh}"
    print("memory (GB):", {k: round(v / 1e9, 2) for k, v in setup.memory().items()}, flush=True)

    def make():
        found, parts = setup.pairs(silicon.hamiltonian, moved, graph, silicon.screening, True, DEFAULT_GRID)
        arrays = {n: np.asarray(getattr(found, n)) for n in PARTS}
        return arrays | dict(zip(("all", "outside", "levels"), map(np.asarray, parts), strict=True))

    held = kept(stem.with_suffix(".states.npz"), make)
    pairs = Pairs(*(jnp.asarray(held[n]) for n in PARTS), atoms=setup.atoms, mesh=setup.mesh, chunk=20)
    advance = jax.jit(lambda pairs, state: lanczos.advance(product, pairs, state, 10))
    state, alphas, betas = lanczos.begin(pairs.dipoles), [], []
    begun, before = time.time(), time.process_time()
    for step in range(10, options.steps + 1, 10):
        part = stem.with_suffix(f".{step:04d}.npz")

        def more(state=state):
            new, alpha, beta = jax.block_until_ready(advance(pairs, state))
            return {**vars(new), "alpha": alpha, "coefficients": beta}

        held_step = kept(part, more)
        state = lanczos.Recursion(*(jnp.asarray(held_step[n]) for n in ("before", "last", "beta", "norm")))
        alphas.append(held_step["alpha"])
        betas.append(held_step["coefficients"])
        stem.with_suffix(f".{step - 20:04d}.npz").exists() and _shrink(stem.with_suffix(f".{step - 20:04d}.npz"))
        print(f"step {step}: {time.time() - begun:.0f} s, {time.process_time() - before:.0f} of processor", flush=True)
    alpha, beta = (jnp.asarray(np.concatenate(x, axis=1), float)[None] for x in (alphas, betas))
    strength = (setup.scale(moved) * jnp.asarray(state.norm, float) ** 2)[None]
    levels = jnp.asarray(held["levels"])
    full, outside = (
        setup.transitions(silicon.hamiltonian, drawn, [jnp.asarray(held[n])], [levels], DEFAULT_GRID)
        for n in ("all", "outside")
    )
    table(je.optics.Excitons(alpha, beta, strength, outside, full), options)


PARTS = ("electrons", "holes", "upper", "lower", "dipoles", "attraction", "exchange")


def _shrink(path: Path) -> None:
    """Vectors of steps that are past are not needed any more."""
    with np.load(path) as held:
        small = {n: held[n] for n in held.files if n not in ("before", "last")}
        small |= {n: np.zeros(0) for n in ("before", "last")}
    with path.with_suffix(".tmp").open("wb") as file:
        np.savez(file, **small)
    path.with_suffix(".tmp").rename(path)


def quanta(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Absorption with phonon energies over that without, at energies (eV): from the modes of 16 atoms, independent particles.

    Only below the direct gap, where all that absorbs needs a phonon.
    """
    silicon = je.materials.load("silicon", hamiltonian="silicon-hse06")
    constants = je.sampling.force_constants(silicon.potential, silicon.primitive.supercell(2))

    def make():
        energies, line = jnp.linspace(0.8, 3.4, 261), je.optics.Gaussian(0.05)
        found = je.optics.mode_spectra(
            silicon.hamiltonian, constants, options.temperature, energies, line, options.dense
        )
        return {"energies": energies, "parts": found.parts, "quanta": found.quanta}

    held = kept(options.work / f"quanta-{options.temperature:g}-{options.dense}.npz", make)
    found = je.optics.ModeSpectra(*(jnp.asarray(held[n]) for n in ("energies", "parts", "quanta")), options.temperature)
    below = held["energies"] < DIRECT
    return held["energies"], np.where(below, found.factor(), 1.0)


def phonons(options: argparse.Namespace) -> None:
    """The factor of phonon energies alone."""
    energies, factor = quanta(options)
    found = np.interp(AT, energies, factor)
    print(
        f"absorption with phonon energies over without, {options.temperature:g} K, modes of 16 atoms, independent particles"
    )
    print("".join(f"{e:>7.1f}" for e in AT) + "  eV\n" + "".join(f"{f:7.2f}" for f in found), flush=True)


DIRECT = 3.0
"""eV: below, silicon absorbs with phonons alone."""


def table(found: je.optics.Excitons, options: argparse.Namespace) -> None:
    """Absorption over measurement."""
    green = measured.absorption("silicon")[0]
    reference = np.exp(np.interp(AT, green.energies, np.log(green.absorption)))
    line, energies = je.optics.Gaussian(0.05), jnp.linspace(0.8, 5.0, 841)
    factor = np.interp(AT, *quanta(options))
    print(
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores; one snapshot at {options.temperature:g} K, 64 atoms,"
    )
    print(
        f"k mesh {options.mesh}, 110 x 130 bands, Gaussian of 50 meV, {options.steps} steps; absorption over Green (2008)"
    )
    print(f"{'':34s}" + "".join(f"{e:>7.1f}" for e in AT) + "  eV   eps1(0)")
    for scissor in (0.0, 0.1):
        for what, binned in (("independent", found.independent), ("with attraction", found.transitions())):
            spectrum = binned.spectrum(energies, line, scissor)
            ratio = np.exp(np.interp(AT, energies, np.log(np.maximum(spectrum.absorption(), 1e-9)))) / reference
            eps1 = float(binned.static_eps1(scissor)[0])
            for more, times in (("", np.ones_like(factor)), (", phonon energies", factor)):
                text = "".join(f"{r:7.2f}" for r in ratio * times)
                print(f"{what + more + f', +{scissor:g} eV':34s}{text}       {eps1:.2f}")
    print(f"last fifth of the steps changed eps2 by {found.convergence(energies, line):.1e} of its maximum", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["rest", "phonons", "snapshot"], help="rest, phonons, snapshot")
    parser.add_argument("--points", type=int, nargs="*", default=[10, 12, 14], help="points a direction, at rest")
    parser.add_argument("--mesh", type=int, default=4, help="k points a direction of the snapshot")
    parser.add_argument(
        "--dense", type=int, default=6, help="k points a direction of the 16 atoms, for phonon energies"
    )
    parser.add_argument("--steps", type=int, default=150, help="of the snapshot")
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder of the results (default: beside this)")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        {"rest": rest, "phonons": phonons, "snapshot": snapshot}[part](options)


if __name__ == "__main__":
    main()
