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
# # Two hundred temperatures in one call
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxepi/jaxepi/blob/main/docs/notebooks/many-temperatures.ipynb)
#
# From temperature to absorption there is one function, and it is pure: force constants, noise and the table of
# neighbours are made once, the rest follows. So `jax.vmap` turns one temperature into two hundred, in one compiled
# program, on a GPU where there is one.

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

QUICK = True  # False takes 64 atoms: take a GPU

# %% [markdown]
# ## One temperature
#
# The random numbers are drawn once, outside. Then a temperature only scales the displacements, and the curve against
# temperature is smooth.

# %%
import time

import jax.numpy as jnp

silicon = je.materials.load("silicon")
supercell = silicon.structure.supercell(1 if QUICK else 2)
constants = je.sampling.force_constants(silicon.potential, supercell)
noise = je.sampling.white_noise(jax.random.key(0), 2 if QUICK else 4, len(supercell), antithetic=True)
graph = silicon.hamiltonian.graph(supercell)
energies = jnp.array([2.0, 2.5, 3.0])  # eV
line, bins = je.optics.Gaussian(0.15), je.optics.EnergyGrid(0.02, 3000)  # eV: broad lines, coarse bins


def absorption(temperature):  # of K, in 1/cm
    moved = supercell.positions + je.sampling.displacements(constants, temperature, noise)
    snapshots = je.sampling.Snapshots(supercell, moved, temperature)
    spectrum = je.optics.dielectric(silicon.hamiltonian, snapshots, energies, 1, line, graph=graph, grid=bins)
    return spectrum.absorption()


# %% [markdown]
# ## Two hundred
#
# The first call compiles, the second only computes.

# %%
temperatures = jnp.linspace(0.0, 800.0, 200)  # K
curves = jax.jit(jax.vmap(absorption))
for what in ("compiled and computed", "computed again"):
    started = time.perf_counter()
    alpha = curves(temperatures).block_until_ready()
    print(f"{len(temperatures)} temperatures {what} in {time.perf_counter() - started:.1f} s")

# %% [markdown]
# ## The picture
#
# Below some 100 K the curves are flat: what is left is zero-point motion, which no cooling takes away. Above, more and
# more vibrations are excited, and absorption that needs them grows. Photons of 3.0 eV come close to the direct gap and
# need the vibrations less. Eight atoms at one k point give the course of the curves, not their height: that takes
# larger supercells.

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(layout="constrained")
for energy, curve in zip(energies, alpha.T, strict=True):
    axes.semilogy(temperatures, curve, label=f"{float(energy):g} eV")
axes.set(xlabel="temperature (K)", ylabel="absorption coefficient (1/cm)", title=f"Silicon, {len(supercell)} atoms")
_ = axes.legend(title="photon energy")
