"""Thermal shift of band gaps, by both definitions in use, with quantum and classical nuclei.

    python scripts/thermal_gaps.py silicon --supercell 2 --pairs 40 --temperatures 0 100 300 400
    python scripts/thermal_gaps.py silicon --hamiltonian silicon-hse06 --potential silicon-pbe
    python scripts/thermal_gaps.py galliumarsenide --supercell 2 --pairs 40 --temperatures 0 300

"edges": mean over the equivalent valleys, where the crystal's band edges fold to in the supercell.
"gamma": at Gamma of the supercell, the mean of the lowest degenerate set of empty states minus that of the highest filled
set, counted at equilibrium (64 atoms of silicon: six states from X). Constant volume; antithetic pairs; the error is the
standard error over pairs.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from timing import machine

jax.config.update("jax_enable_x64", True)

from jaxepi import electrons, materials, sampling  # noqa: E402
from jaxepi.electrons import EdgeProbe  # noqa: E402
from jaxepi.electrons.sparse import sparse_bloch, states_near  # noqa: E402


def gamma_probe(hamiltonian, supercell, graph, top: float, gap: float) -> EdgeProbe:
    """The band edges as they stand at Gamma of the perfect supercell."""
    blocks = hamiltonian.blocks(supercell, graph)
    h, _ = sparse_bloch(blocks, graph, graph.vectors(supercell), np.zeros(3))
    near = states_near(h, None, top + 0.75 * gap, 40).energies
    empty, filled = near[near > top + 0.5 * gap], near[near < top + 0.5 * gap]
    return EdgeProbe(
        points=jnp.zeros((1, 3)),
        top=jnp.asarray(filled[-1]),
        gap=jnp.asarray(empty[0] - filled[-1]),
        valence=(int((filled > filled[-1] - 1e-4).sum()),),
        conduction=(int((empty < empty[0] + 1e-4).sum()),),
        partners=(1,),
        occupied=blocks.occupied,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("material")
    parser.add_argument("--hamiltonian", help="name or file (default: the material's)")
    parser.add_argument("--potential", help="name or file (default: the material's)")
    parser.add_argument("--supercell", type=int, default=2, help="repeats of the conventional cell")
    parser.add_argument("--pairs", type=int, default=40, help="antithetic pairs of snapshots")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 100.0, 300.0, 400.0], help="kelvin")
    parser.add_argument("--statistics", nargs="+", default=["quantum", "classical"], choices=["quantum", "classical"])
    parser.add_argument("--definitions", nargs="+", default=["edges", "gamma"], choices=["edges", "gamma"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    material = materials.load(options.material, hamiltonian=options.hamiltonian, potential=options.potential)
    supercell = material.structure.supercell(options.supercell)
    graph = material.hamiltonian.graph(supercell)
    occupied = material.hamiltonian.basis.occupied(supercell.species)
    edges = electrons.band_edges(material.hamiltonian, material.primitive)
    constants = sampling.force_constants(material.potential, supercell)
    probes = {
        "edges": electrons.edge_probe(edges, supercell, occupied),
        "gamma": gamma_probe(material.hamiltonian, supercell, graph, float(edges.valence), float(edges.gap)),
    }
    print(f"{machine()}; {options.material}, {len(supercell)} atoms,")
    card = dict(material.card)
    print(f"{card['hamiltonian'].partition(':')[0]}; {card['potential'].partition(':')[0]};")
    print(f"{options.pairs} antithetic pairs, seed {options.seed}; shift of the gap in meV from its equilibrium value")
    for definition in options.definitions:
        probe = probes[definition]
        print(
            f"{definition}: equilibrium gap {float(probe.gap):.4f} eV from {probe.valence} filled, {probe.conduction} empty"
        )
        for statistics in options.statistics:
            for temperature in options.temperatures:
                if statistics == "classical" and temperature == 0:
                    continue
                snapshots = sampling.harmonic(
                    constants,
                    temperature=temperature,
                    count=2 * options.pairs,
                    key=jax.random.key(options.seed),
                    antithetic=True,
                    statistics=statistics,
                )
                top, bottom = electrons.thermal_edges(material.hamiltonian, snapshots, probe, graph)
                shift = 1e3 * (np.asarray(bottom - top) - float(probe.gap))
                mean, error = float(snapshots.mean(shift)), float(snapshots.standard_error(shift))
                print(f"  {statistics:9s} {temperature:5.0f} K  {mean:8.1f} +- {error:.1f} meV", flush=True)


if __name__ == "__main__":
    main()
