"""What vibrations do to levels, beside measurement, Monte Carlo and finite differences; tables that docs/validation.md quotes.

python scripts/check_renormalisation.py silicon --meshes 4 6 8 12
python scripts/check_renormalisation.py silicon --hamiltonian silicon-hse06 --potential silicon-hse06 --container 7 \
    --second 4 --meshes 4 6 8
python scripts/check_renormalisation.py carlo --pairs 32
python scripts/check_renormalisation.py derivatives

`silicon` (any material by --crystal): shifts of the indirect and the direct gap by mesh, adiabatic and dynamic, 100 to 400 K,
and the isotope slope as a derivative by the mass. `carlo`: a mesh against snapshots of its supercell at a tenth of the
amplitude, and at full amplitude. `derivatives`: against differences. Graphene: experiments/bilayer_graphene/fermi_velocity.py.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from refusals import refusing

from jaxepi import electrons, epi, kpoints, materials, sampling, units
from jaxepi.structure import Structure
from jaxepi.tree import replace

MEASURED = {
    "silicon": "measured: indirect -57 to -62 meV at 0 K, -68 from 100 to 400 K, +1.0 meV/amu; direct -40 to -50 at 0 K",
    "galliumarsenide": "measured: -60 to -66 meV at 0 K, calculated -21 to -32; the Froehlich part is not in these numbers",
    "diamond": "measured: -364 to -370 meV at 0 K, calculated -320 to -345",
}


def crystal(options) -> tuple:
    """Material, force constants, topology and the three levels."""
    loaded = materials.load(options.crystal, options.hamiltonian, options.potential)
    cell = loaded.primitive
    constants = sampling.force_constants(loaded.potential, cell.supercell(options.constants))
    repeats, second = (None if n is None else 3 * (n,) for n in (options.container, options.second))
    known = epi.topology(loaded.hamiltonian, constants, repeats, second)
    edges = electrons.band_edges(loaded.hamiltonian, cell)
    valence, conduction = epi.edge_levels(loaded.hamiltonian, cell, edges)
    direct = epi.Level.at(loaded.hamiltonian, cell, valence.k, loaded.hamiltonian.basis.occupied(cell.species))
    return loaded, constants, known, edges, {"valence": valence, "indirect": conduction, "direct": direct}


def silicon(options) -> None:
    """Shifts by mesh, temperature and treatment."""
    loaded, constants, known, edges, levels = crystal(options)
    cell, names = loaded.primitive, ("indirect", "direct")
    print(f"{loaded.name}: {loaded.hamiltonian_name}, {loaded.potential_name}; gap {float(edges.gap):.4f} eV at rest")
    print(f"container {known.stencil.repeats}, reach {known.stencil.reach:.2f} angstrom")
    found = epi.Electrons.of(loaded.hamiltonian, cell, known.graph, known.stencil)
    prepared = {
        name: epi.problem(loaded.hamiltonian, constants, level, known, electrons=found)
        for name, level in levels.items()
    }
    for name, one in prepared.items():
        whole, largest = (float(jnp.abs(m).max()) for m in (one.hessian.matrix.sum(axis=(2, 3)), one.hessian.matrix))
        print(f"acoustic sum rule, {name}: second derivatives sum to {whole / largest:.1e} of the largest")
    fermi, kelvin = float(edges.valence + edges.gap / 2), [0.0, 100.0, 400.0]
    print(
        f"{'mesh':>4} {'eta (eV)':>9} {'treatment':>9} {'gap':>9} {'0 K (meV)':>10} {'Fan':>8} {'DW':>8} "
        f"{'100 K':>8} {'400-100 K':>10}"
    )
    for mesh in options.meshes:
        for eta, dynamic in ((options.broadening, False), (options.broadening / 2, False), (options.broadening, True)):
            how = epi.Treatment(eta, fermi, dynamic)
            found = {}
            for name, level in levels.items():
                points = epi.wave_vectors(cell, mesh, np.asarray(level.k))
                found[name] = epi.by_mode(prepared[name], points, kelvin, how).shift
            for name in names:
                fan, second = (
                    np.asarray(a) - np.asarray(b) for a, b in zip(found[name], found["valence"], strict=True)
                )
                total, kind = 1e3 * (fan + second), "dynamic" if dynamic else "adiabatic"
                print(
                    f"{mesh:4d} {eta:9.3f} {kind:>9} {name:>9} {total[0]:10.1f} {1e3 * fan[0]:8.1f} {1e3 * second[0]:8.1f} "
                    f"{total[1]:8.1f} {total[2] - total[1]:10.1f}",
                    flush=True,
                )
    slope = isotopes(prepared, cell, levels, options.meshes[0], options.broadening)
    print(
        f"isotope slope of the indirect gap at 0 K, mesh {options.meshes[0]}, by derivative: {1e3 * slope:+.2f} meV/amu"
    )
    print(MEASURED.get(loaded.name, ""))
    if loaded.name == "galliumarsenide":
        print(
            "without the Froehlich coupling, which shifts a parabolic edge by -alpha times the LO energy: " + polarons()
        )


def polarons() -> str:
    """Froehlich's alpha and shift of gallium arsenide's edges, from measured masses, dielectric constants and LO energy.

    alpha = (1/eps_inf - 1/eps_0) e^2/(4 pi eps0 hbar) sqrt(m/(2 hbar w)); masses of Vurgaftman, Meyer, Ram-Mohan, J. Appl.
    Phys. 89, 5815 (2001), those of holes along [100] from their Luttinger parameters 6.98 and 2.06.
    """
    infinite, zero, quantum = 10.9, 12.9, 0.0362
    out, shifts = [], {}
    for name, m in (("electron", 0.067), ("heavy hole", 1 / (6.98 - 2 * 2.06)), ("light hole", 1 / (6.98 + 2 * 2.06))):
        root = (m / (2 * quantum * units.HBAR2_PER_ELECTRON_MASS)) ** 0.5
        alpha = (1 / infinite - 1 / zero) * units.COULOMB * root
        shifts[name] = 1e3 * alpha * quantum
        out.append(f"{name} alpha {alpha:.3f}, {shifts[name]:.1f} meV")
    low, high = (shifts["electron"] + shifts[hole] for hole in ("light hole", "heavy hole"))
    return f"{'; '.join(out)}; the gap would close by {low:.0f} to {high:.0f} meV more"


def isotopes(prepared: dict, cell: Structure, levels: dict, mesh: int, eta: float) -> float:
    """Derivative of the indirect gap's shift at 0 K by the mass of all atoms, eV/amu."""
    slopes = []
    for name in ("valence", "indirect"):
        points = epi.wave_vectors(cell, mesh, np.asarray(levels[name].k))

        def total(added, name=name, points=points):
            constants = prepared[name].constants
            heavier = replace(constants, weights=jnp.asarray(cell.masses) + added)
            return epi.shift(replace(prepared[name], constants=heavier), points, 0.0, epi.Treatment(eta)).total

        slopes.append(float(jax.jvp(total, (jnp.zeros(()),), (jnp.ones(()),))[1]))
    return slopes[1] - slopes[0]


def carlo(options) -> None:
    """Second order on the wave vectors of a supercell against its snapshots: random pairs, a special pair, single modes."""
    loaded, _, known, edges, levels = crystal(options)
    hamiltonian, cell = loaded.hamiltonian, loaded.primitive
    base = cell if options.cell == "primitive" else loaded.structure
    small = sampling.force_constants(loaded.potential, base.supercell(options.supercell))
    # The mesh's own force constants: wave vectors between those of another supercell would be interpolated.
    own, divisions = small, options.supercell
    if base is not cell:
        divisions = 2 * options.supercell
        own = sampling.force_constants(loaded.potential, cell.supercell(divisions))
    supercell = small.supercell
    graph = hamiltonian.graph(supercell)
    occupied = hamiltonian.basis.occupied(supercell.species)
    probe = electrons.edge_probe(edges, supercell, occupied)
    print(f"{loaded.name}, {len(supercell)} atoms, gap's shift in meV: second order; snapshots", flush=True)

    def measured(drawn: np.ndarray, amplitude: float) -> np.ndarray:
        """Shifts of displaced supercells, over the square of the amplitude, meV."""
        moved = sampling.Snapshots(supercell, supercell.positions[None] + amplitude * drawn, 0.0)
        solver = options.solver
        if solver == "auto":
            solver = "sparse" if hamiltonian.basis.size(supercell.species) > 600 else "dense"
        top, bottom = electrons.thermal_edges(hamiltonian, moved, probe, graph, solver)
        return 1e3 * (np.asarray(bottom - top) - float(edges.gap)) / amplitude**2

    for temperature in options.temperatures:
        topology, exact = dataclasses.replace(known, images=sampling.images_of(own)), {}
        for name in ("valence", "indirect"):
            points = epi.wave_vectors(cell, divisions, np.asarray(levels[name].k))
            if base is not cell:  # face-centred: every second wave vector of the primitive cell's mesh fits the cube
                fits = np.rint(points.points * divisions).astype(int).sum(axis=1) % 2 == 0
                points = kpoints.KPoints(points.points[fits], 2 * points.weights[fits])
            prepared = epi.problem(hamiltonian, own, levels[name], topology)
            exact[name] = [
                1e3 * float(epi.shift(prepared, points, temperature, epi.Treatment(eta)).total) for eta in options.etas
            ]
        shifts = np.subtract(exact["indirect"], exact["valence"])
        shown = ", ".join(f"{x:+.2f} ({eta:g} eV)" for x, eta in zip(shifts, options.etas, strict=True))
        print(f"{temperature:g} K: second order {shown}", flush=True)
        if options.columns:
            # Displacements whose outer products sum to the covariance: no noise at all, and second order alone.
            count = 3 * len(supercell)
            u = np.asarray(sampling.displacements(small, temperature, jnp.eye(count).reshape(count, -1, 3)))
            total = sum(0.5 * (measured(u[i : i + 1], s * 0.02).sum()) for i in range(count) for s in (1, -1))
            print(f"{temperature:g} K: curvatures summed over {count} displacements {total:+.2f}", flush=True)
        if options.special:
            pair = sampling.special(small, temperature=temperature)
            u = np.asarray(pair.positions - supercell.positions[None])
            shown = ", ".join(f"{a:g} of the amplitude {measured(u, a).mean():+.2f}" for a in options.amplitudes)
            print(f"{temperature:g} K: special displacement and partner, {shown}", flush=True)
        found: dict[float, list] = {a: [] for a in options.amplitudes}
        for i in range(options.first, options.first + options.pairs):
            noise = sampling.white_noise(jax.random.key(i), 1, len(supercell))
            u = np.asarray(sampling.displacements(small, temperature, jnp.concatenate([noise, -noise])))
            for amplitude in found:
                found[amplitude].append(measured(u, amplitude).mean())
            print(f"{temperature:g} K: pair {i}, " + ", ".join(f"{x[-1]:+.2f}" for x in found.values()), flush=True)
            if i > options.first:  # one pair has no error
                parts = {f"{a:g} of the amplitude": np.array(x) for a, x in found.items()}
                parts |= {"higher orders": np.subtract(found[1.0], found[0.1])} if len(found) == 2 else {}
                text = ", ".join(
                    f"{k} {x.mean():+.2f} +- {x.std(ddof=1) / len(x) ** 0.5:.2f}" for k, x in parts.items()
                )
                print(f"{temperature:g} K: {i + 1 - options.first} pairs, {text}", flush=True)


def derivatives(options) -> None:
    """Of the valence edge's shift by temperature, mass and strain, against central differences."""
    loaded, constants, known, _, levels = crystal(options)
    points = epi.wave_vectors(loaded.primitive, 2)

    def total(x):
        stretched = loaded.primitive.strained(0.01 * x[2] * jnp.eye(3))
        masses = jnp.asarray(loaded.primitive.masses) * (1 + 0.1 * x[1])
        prepared = epi.problem(
            loaded.hamiltonian, replace(constants, weights=masses), levels["valence"], known, stretched
        )
        return epi.shift(prepared, points, 300.0 * (1 + 0.1 * x[0])).total

    both = jax.jit(lambda x, along: jax.jvp(total, (x,), (along,)))
    for i, name in enumerate(("temperature", "masses", "strain")):
        along = jnp.eye(3)[i]
        difference = float(both(1e-2 * along, along)[0] - both(-1e-2 * along, along)[0]) / 2e-2
        slope = float(both(jnp.zeros(3), along)[1])
        print(f"{name:12} {slope:+.8f} eV, differences {difference:+.8f}, ratio {slope / difference:.6f}", flush=True)


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line; exits with 2 on input that is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("silicon", "carlo", "derivatives"))
    parser.add_argument("--crystal", default="silicon")
    parser.add_argument("--hamiltonian")
    parser.add_argument("--potential")
    parser.add_argument("--constants", type=int, default=4, help="repeats of the primitive cell for force constants")
    parser.add_argument("--container", type=int, help="repeats of the container (default: found)")
    parser.add_argument("--second", type=int, help="repeats of that for second derivatives (default: the same)")
    parser.add_argument("--meshes", type=int, nargs="+", default=[4, 6, 8, 12])
    parser.add_argument("--broadening", type=float, default=0.1, help="eV")
    parser.add_argument("--supercell", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first pair, to go on where another run ended"
    )
    parser.add_argument("--solver", choices=("auto", "dense", "sparse"), default="auto", help="dense: on the device")
    parser.add_argument("--cell", choices=("primitive", "conventional"), default="primitive")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 300.0], help="of snapshots, kelvin")
    parser.add_argument("--etas", type=float, nargs="+", default=[0.0], help="broadenings of second order there, eV")
    parser.add_argument("--amplitudes", type=float, nargs="+", default=[0.1, 1.0], choices=(0.1, 1.0))
    parser.add_argument("--special", action="store_true", help="a special displacement and its partner, too")
    parser.add_argument("--columns", action="store_true", help="curvatures without noise, too")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    {"silicon": silicon, "carlo": carlo, "derivatives": derivatives}[options.what](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
