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
# # Gradients, and a fit to a spectrum
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxepi/jaxepi/blob/main/docs/notebooks/gradients.ipynb)
#
# A spectrum is a function of the temperature, of the atoms' positions, and of every parameter of the models. JAX
# differentiates it by all of them at once. Here we read such slopes, and then follow them downhill: parameters of a
# Hamiltonian are fitted to the measured absorption of silicon.

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

QUICK = True  # False takes more k points and steps

# %% [markdown]
# ## A spectrum as a function
#
# Vogl's Hamiltonian of 1983 has five orbitals an atom and was made for bands, not for light. The lattice vibrates at
# 300 K. The misfit is the mean square deviation of the logarithm of the absorption, and a weak spring to the published
# values: it keeps parameters that the spectrum does not feel where they were.

# %%
import jax.numpy as jnp

silicon = je.materials.load("silicon", hamiltonian="si-vogl1983")
supercell = silicon.primitive.supercell(1 if QUICK else 2)
constants = je.sampling.force_constants(silicon.potential, supercell)
noise = je.sampling.white_noise(jax.random.key(0), 2, len(supercell), antithetic=True)
graph = silicon.hamiltonian.graph(supercell)
line, bins = je.optics.Gaussian(0.15), je.optics.EnergyGrid(0.02, 3000)  # eV: broad lines, coarse bins
points = je.kpoints.quasirandom(100 if QUICK else 200)

(measured,) = je.materials.measured.absorption("silicon")
energies = jnp.linspace(3.2, 4.5, 27)  # eV
target = jnp.exp(jnp.interp(energies, measured.energies, jnp.log(measured.absorption)))  # 1/cm
start = silicon.hamiltonian.params


def misfit(params, temperature):
    hamiltonian = je.hamiltonians.Hamiltonian(params, silicon.hamiltonian.module)
    moved = supercell.positions + je.sampling.displacements(constants, temperature, noise)
    snapshots = je.sampling.Snapshots(supercell, moved, temperature)
    spectrum = je.optics.dielectric(hamiltonian, snapshots, energies, points, line, graph=graph, grid=bins)
    alpha = spectrum.absorption()  # 1/cm
    away = jax.tree.map(lambda new, old: jnp.sum((new - old) ** 2), params, start)
    return jnp.mean(jnp.log(alpha / target) ** 2) + 0.01 * sum(jax.tree.leaves(away)), alpha


# %% [markdown]
# ## All slopes at once
#
# One backward pass costs a few times the spectrum itself, however many parameters there are. That it is right also
# where bands touch, as at Gamma, is taken care of; a finite difference confirms it.

# %%
slopes = jax.jit(jax.value_and_grad(misfit, argnums=(0, 1), has_aux=True))
(value, published), (by_params, by_temperature) = slopes(start, 300.0)
nudge = 1e-3  # eV
shifted = {**start, "onsite": start["onsite"].at[0, 0].add(nudge)}
difference = float(slopes(shifted, 300.0)[0][0] - value) / nudge
print(f"misfit {float(value):.4f}; its slope by temperature {float(by_temperature):+.2e} 1/K")
print(
    f"by the energy of the s orbital {float(by_params['onsite'][0, 0]):+.4f} 1/eV; by a finite difference {difference:+.4f} 1/eV"
)

# %% [markdown]
# ## Downhill
#
# Adam takes every parameter along its slope, scaled to a step of its own.

# %%
import optax

optimizer = optax.adam(0.03)
params, state, history = start, optimizer.init(start), []
for _ in range(30 if QUICK else 100):
    (value, alpha), (gradient, _) = slopes(params, 300.0)
    steps, state = optimizer.update(gradient, state)
    params = optax.apply_updates(params, steps)
    history.append(float(value))
print(f"misfit {history[0]:.4f} at the start, {history[-1]:.4f} after {len(history)} steps")

# %% [markdown]
# ## What has been learned, and what not
#
# The curve comes closer to the measured one. Whether the parameters are better is another question: real light also
# binds electron and hole, which lifts the first peak, and a fit without that binding bends the bands instead. So look
# at what was *not* fitted, here the gap, before you trust a fit.

# %%
import matplotlib.pyplot as plt

path = je.kpoints.path(silicon.primitive, "GX", 60)  # both edges lie on it
for name, values in (("published", start), ("fitted", params)):
    one = je.hamiltonians.Hamiltonian(values, silicon.hamiltonian.module)
    bands = je.electrons.eigenvalues(one, silicon.primitive, path.points)
    print(f"{name}: gap {float(bands[:, 4].min() - bands[:, 3].max()):.3f} eV (measured: 1.12 eV at 300 K)")
figure, axes = plt.subplots(layout="constrained")
axes.plot(energies, target / 1e6, "ko", mfc="white", label="measured (Green 2008), 300 K")
axes.plot(energies, published / 1e6, "--", label="published parameters")
axes.plot(energies, alpha / 1e6, label="fitted")
axes.set(xlabel="photon energy (eV)", ylabel="absorption coefficient ($10^6$/cm)", title="Silicon")
_ = axes.legend()
