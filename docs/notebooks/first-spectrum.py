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
# # First spectrum
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxepi/jaxepi/blob/main/docs/notebooks/first-spectrum.ipynb)
#
# Silicon is transparent in the infrared and grey to the eye, and it absorbs more the warmer it is. Its gap is indirect:
# a photon alone cannot lift an electron across, but a photon together with a vibration of the lattice can. Here we
# freeze the vibrating lattice at random moments, compute the absorption of each frozen crystal, and average.

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

QUICK = True  # False takes 54 atoms and more snapshots: minutes

# %% [markdown]
# ## The crystal and its models
#
# A material comes with a potential, which knows how the atoms vibrate, and a Hamiltonian, which knows the electrons.
# Its card says where both are from and how far they can be trusted.

# %%
silicon = je.materials.load("silicon")
silicon

# %% [markdown]
# ## Snapshots
#
# In the harmonic crystal every displacement follows a Gaussian whose width quantum mechanics gives. Even at 0 K it is
# not zero: that is the zero-point motion. We draw snapshots of a supercell at two temperatures, with the same random
# numbers, so that the temperature is the only difference between them.

# %%
supercell = silicon.primitive.supercell(2 if QUICK else 3)
constants = je.sampling.force_constants(silicon.potential, supercell)
temperatures = [100.0, 300.0]  # K
snapshots = [
    je.sampling.harmonic(constants, temperature=t, count=4 if QUICK else 8, key=jax.random.key(0), antithetic=True)
    for t in temperatures
]
for t, drawn in zip(temperatures, snapshots, strict=True):
    size = float((drawn.displacements**2).sum(axis=-1).mean() ** 0.5)
    print(
        f"{t:g} K: {len(drawn)} snapshots of {len(supercell)} atoms, displaced by {size:.3f} angstrom (root mean square)"
    )

# %% [markdown]
# ## Absorption
#
# One function takes the Hamiltonian and the snapshots to the dielectric function, at k points that fill the zone
# evenly; all optical constants follow from it. The lattice at rest, for comparison, is the primitive cell with many k
# points.

# %%
energies = jax.numpy.linspace(1.0, 5.0, 401)  # photon energies, eV
line = je.optics.Gaussian(0.05)  # eV
points = je.kpoints.quasirandom(5 if QUICK else 24)
spectra = [
    je.optics.dielectric(silicon.hamiltonian, drawn, energies, points, line, tensor=False) for drawn in snapshots
]

cell = silicon.primitive
at_rest = je.sampling.Snapshots(cell, cell.positions[None], 0.0)
many = je.kpoints.quasirandom(400 if QUICK else 5000)
rest = je.optics.dielectric(silicon.hamiltonian, at_rest, energies, many, line, tensor=False)
for t, spectrum in zip(temperatures, spectra, strict=True):
    alpha = float(jax.numpy.interp(2.5, energies, spectrum.absorption()))
    print(
        f"{t:g} K: absorption of {alpha:.3g} 1/cm at 2.5 eV, refractive index {float(spectrum.refractive_index()[0]):.2f} at 1 eV"
    )

# %% [markdown]
# ## The picture
#
# Dashed is the lattice at rest: nothing below the direct gap of 3.3 eV. The vibrations fill in what lies below. A
# supercell knows only the vibrations that fit into it, and 16 atoms know few: the tail towards the indirect gap of 1.1
# eV is cut off until the supercell is larger (`QUICK = False`, or `jaxepi absorb silicon --supercell 3`). What is
# missing in height near 3.4 eV is the attraction of electron and hole, left out here (`jaxepi absorb --excitons`).

# %%
measured = je.materials.measured.absorption("silicon")
figure = je.plotting.absorption(spectra, temperatures, rest, measured, "Silicon")
figure
