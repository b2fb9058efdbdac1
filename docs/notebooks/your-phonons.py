# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own crystal and phonopy files
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxepi/jaxepi/blob/main/docs/notebooks/your-phonons.ipynb)
#
# You have a structure file, and phonons from a code of your own by way of phonopy. That is enough: jaxepi reads both,
# draws the dispersion, and takes the vibrations to the electrons. The example is germanium, whose gap shrinks when it
# is heated.

# %%
try:
    import jaxepi as je
except ImportError:
    # %pip install -q "jaxepi[phonopy] @ git+https://github.com/jaxepi/jaxepi"
    import jaxepi as je

# %% [markdown]
# JAX computes in single precision unless told otherwise, and must be told before any model is loaded. Electrons near a
# band edge need float64. On a GPU nothing else changes: JAX takes the one it finds (on Colab: Runtime, Change runtime
# type).

# %%
import jax

jax.config.update("jax_enable_x64", True)
print("Computing on", jax.devices()[0].device_kind)

QUICK = True  # False takes a larger supercell and more snapshots

# %% [markdown]
# ## The files, made here
#
# So that nothing has to be downloaded, we make the files that you would bring. The code you have is played by a force
# field that is shipped with jaxepi; it is asked for forces as an ASE calculator, as any other code would be. **With
# files of your own, skip this cell.**

# %%
import ase.build
import ase.io
import phonopy
from phonopy.structure.atoms import PhonopyAtoms

crystal = ase.build.bulk("Ge", "diamond", a=5.658)  # angstrom
ase.io.write("germanium.cif", crystal)
your_code = je.potentials.calculator(je.potentials.load("germanium-mvff"))

repeats = 2 if QUICK else 4
cell = PhonopyAtoms(symbols=crystal.symbols, cell=crystal.cell, scaled_positions=crystal.get_scaled_positions())
phonon = phonopy.Phonopy(cell, supercell_matrix=[repeats] * 3, primitive_matrix="P")
phonon.generate_displacements(distance=0.01)  # angstrom
forces = []
for moved in phonon.supercells_with_displacements:
    atoms = ase.Atoms(moved.symbols, positions=moved.positions, cell=moved.cell, pbc=True)
    atoms.calc = your_code
    forces.append(atoms.get_forces())
phonon.forces = forces
phonon.save("phonopy_params.yaml")
print(f"{len(forces)} displaced supercell of {len(atoms)} atoms: symmetry gives the rest")

# %% [markdown]
# ## Phonons
#
# One line reads the file. phonopy makes force constants of the forces in it; what jaxepi makes of these must be what
# phonopy itself finds.

# %%
constants = je.sampling.ForceConstants.from_phonopy("phonopy_params.yaml")
at_l = [0.5, 0.5, 0.5]  # the zone boundary along [111], fractional
phonon.produce_force_constants()
theirs = phonon.get_frequencies(at_l)
ours = je.sampling.frequencies_thz(constants, [at_l])[0]
print("phonopy:", theirs.round(4), "THz")
print("jaxepi: ", jax.numpy.round(ours, 4), "THz")

# %%
found = je.sampling.dispersion(constants, "LGX", 60)
je.plotting.phonons(found.path, found.frequencies, "Germanium")

# %% [markdown]
# Two atoms in the cell: three acoustic branches that start from zero, three optical ones above. Measured at Gamma are
# 9.1 THz.
#
# ## What the phonons do to the gap
#
# We draw snapshots from these phonons and ask a published Hamiltonian for the band edges of each. The edge of the
# conduction band lies at L, the valence edge at Gamma; both fit into the supercell.

# %%
hamiltonian = je.hamiltonians.load("ge-jancu1998")
edges = je.electrons.band_edges(hamiltonian, constants.base)
supercell = constants.supercell
probe = je.electrons.edge_probe(edges, supercell, hamiltonian.basis.occupied(supercell.species))


def gap(temperature):  # of K, in eV
    drawn = je.sampling.harmonic(
        constants, temperature=temperature, count=4 if QUICK else 20, key=jax.random.key(1), antithetic=True
    )
    valence, conduction = je.electrons.thermal_edges(hamiltonian, drawn, probe)
    return float(drawn.mean(conduction - valence)), float(drawn.standard_error(conduction - valence))


temperatures = [0.0, 100.0, 200.0, 300.0, 400.0]  # K
gaps = [gap(t) for t in temperatures]
zero_point = gaps[0][0] - float(edges.gap)
print(
    f"lattice at rest {float(edges.gap):.3f} eV; zero-point motion alone changes the gap by {1e3 * zero_point:.0f} meV"
)

# %% [markdown]
# The measured gap falls for two reasons: the vibrations, which we have, and thermal expansion, which we have not. The
# change from 0 K compares them. Sixteen atoms are few; the error bars say how much the snapshots scatter, not what a
# small supercell misses.

# %%
import matplotlib.pyplot as plt

measured = je.materials.measured.gap("germanium")
figure, axes = plt.subplots(layout="constrained")
change = [1e3 * (g - gaps[0][0]) for g, _ in gaps]
axes.errorbar(
    temperatures, change, yerr=[1e3 * e for _, e in gaps], fmt="o-", capsize=3, label=f"{len(supercell)} atoms"
)
axes.plot(measured.temperatures, 1e3 * (measured.gaps - measured.gaps[0]), "k--", label="measured (Thurmond 1975)")
axes.set(xlabel="temperature (K)", ylabel="change of the gap (meV)", title="Germanium")
_ = axes.legend()

# %% [markdown]
# The same from a terminal, with absorption at the end:
#
#     jaxepi phonons germanium.cif --phonons phonopy_params.yaml
#     jaxepi absorb germanium.cif --phonons phonopy_params.yaml --hamiltonian ge-jancu1998 --temperatures 300
#
# A polar crystal needs its Born charges too: phonopy's BORN file beside the other, or `--born FILE`.
