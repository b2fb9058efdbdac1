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
# # Your own trajectory
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxepi/jaxepi/blob/main/docs/notebooks/your-trajectory.ipynb)
#
# You have run molecular dynamics with a code of your own. Every frame is a frozen crystal, and its electrons can be
# asked. jaxepi takes frames as they are: no potential, no phonons.

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

QUICK = True  # False takes 64 atoms and a longer run

# %% [markdown]
# ## The trajectory, made here
#
# So that nothing has to be downloaded, we run one: silicon at 300 K by ASE, with the valence force field that is
# shipped with jaxepi in the place of the code you have. **With a file of your own, skip this cell:** extended XYZ,
# ASE's `.traj`, XDATCAR and vasprun.xml are read.

# %%
import ase.build
import ase.io
import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

crystal = ase.build.bulk("Si", "diamond", a=5.431, cubic=True).repeat(1 if QUICK else 2)  # angstrom
atoms = crystal.copy()
atoms.calc = je.potentials.calculator(je.potentials.load("silicon-mvff"))
random = np.random.default_rng(0)
MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=random)  # half of it goes into the potential energy
step, interval = 2.0, 20  # fs; steps between frames
dynamics = Langevin(atoms, step * units.fs, temperature_K=300, friction=0.02 / units.fs, fixcm=False, rng=random)
dynamics.run(300 if QUICK else 2000)  # to equilibrium
frames = []
for _ in range(40 if QUICK else 200):
    dynamics.run(interval)
    frames.append(atoms.copy())
ase.io.write("md.xyz", frames)

# %% [markdown]
# ## Frames as snapshots
#
# Give the crystal at rest: atoms are matched to its sites in any order, unwrapped through the faces of the cell, and
# the drift of the whole is taken out.

# %%
images = ase.io.read("md.xyz", ":")
snapshots = je.sampling.Snapshots.from_ase(images, reference=crystal, temperature=300.0)
print(f"{len(snapshots)} frames of {len(snapshots.structure)} atoms")

# %% [markdown]
# How large are the vibrations? Nuclei of molecular dynamics are classical; real ones also move at 0 K. The harmonic
# crystal of the same potential knows both answers. So short a run of so few atoms comes within some ten per cent of the
# first.

# %%
moved = float((snapshots.displacements**2).sum(axis=-1).mean())  # angstrom^2
potential = je.potentials.load("silicon-mvff")
constants = je.sampling.force_constants(potential, je.Structure.from_ase(crystal))
print(f"mean square displacement, trajectory: {moved:.4f} angstrom^2")
for statistics in ("classical", "quantum"):
    squares = je.sampling.mean_square_displacements(constants, 300.0, statistics)
    print(f"harmonic crystal, {statistics} nuclei:  {float(np.trace(squares, axis1=1, axis2=2).mean()):.4f} angstrom^2")

# %% [markdown]
# ## The gap, frame by frame

# %%
silicon = je.materials.load("silicon")
edges = je.electrons.band_edges(silicon.hamiltonian, silicon.primitive)
occupied = silicon.hamiltonian.basis.occupied(snapshots.structure.species)
probe = je.electrons.edge_probe(edges, snapshots.structure, occupied)
valence, conduction = je.electrons.thermal_edges(silicon.hamiltonian, snapshots, probe)
gaps = np.asarray(conduction - valence)  # eV
print(f"lattice at rest {float(edges.gap):.3f} eV, mean of the frames {gaps.mean():.3f} eV")
print("standard error:", float(snapshots.standard_error(conduction - valence)), "eV")

# %% [markdown]
# The error is not a number, and rightly so: frames of one run follow from each other, and nobody has said that they are
# independent. Several runs would tell, or frames far apart (`groups=()` says that yours are).

# %%
import matplotlib.pyplot as plt

times = step * interval * np.arange(1, len(gaps) + 1) / 1000  # ps
figure, axes = plt.subplots(layout="constrained")
axes.plot(times, gaps, "o-", ms=4, label="frames")
axes.axhline(gaps.mean(), color="C0", ls="--", label="their mean")
axes.axhline(float(edges.gap), color="black", lw=1, label="lattice at rest")
axes.set(xlabel="time (ps)", ylabel="gap (eV)", title=f"Silicon at 300 K, {len(crystal)} atoms")
_ = axes.legend()

# %% [markdown]
# The same from a terminal, and the absorption of the same frames:
#
#     jaxepi gap silicon --trajectory md.xyz --temperatures 300
#     jaxepi absorb silicon --trajectory md.xyz --temperatures 300 --frames 10::2
