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
# # Train a potential and a Hamiltonian from your data
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxepi/jaxepi/blob/main/docs/notebooks/training.ipynb)
#
# You have labels from a code of your own: energies and forces, or bands. Two commands make a model of them: the first
# looks at the data and writes a configuration with comments, the second trains. Here both are given in a notebook; in a
# terminal they read the same.

# %%
try:
    import jaxepi as je
except ImportError:
    # %pip install -q "jaxepi[phonopy] @ git+https://github.com/jaxepi/jaxepi"
    import jaxepi as je

# %% [markdown]
# JAX computes in single precision unless told otherwise, and must be told before any model is loaded. Training says its
# own precision. On a GPU nothing else changes: JAX takes the one it finds (on Colab: Runtime, Change runtime type).

# %%
import jax

jax.config.update("jax_enable_x64", True)
print("Computing on", jax.devices()[0].device_kind)

QUICK = True  # False takes more configurations, larger networks and more epochs

# %% [markdown]
# ## Labels of energies and forces, made here
#
# So that nothing has to be downloaded, we make the data that you would bring: silicon crystals, rattled and a little
# strained. The code you have is played by the Stillinger-Weber potential that is shipped with jaxepi. **With data of
# your own, skip this cell:** any extended XYZ with energies and forces will do.

# %%
import shlex
from pathlib import Path

import ase.build
import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from jaxepi import cli, datasets

your_code = je.potentials.calculator(je.potentials.load("silicon-sw1985"))
random = np.random.default_rng(0)


def rattled(size, cubic):
    atoms = ase.build.bulk("Si", "diamond", a=5.431 * (1 + 0.01 * random.normal()), cubic=cubic)  # angstrom
    atoms.positions += size * random.normal(size=atoms.positions.shape)
    return atoms


frames = []
for _ in range(40 if QUICK else 200):
    atoms = rattled(0.08, cubic=not QUICK)
    atoms.calc = your_code
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)  # the labels stay with their frame
    frames.append(atoms)
ase.io.write("labels.xyz", frames)
print(f"{len(frames)} frames of {len(atoms)} atoms")

# %% [markdown]
# ## A potential
#
# The configuration has every key with its meaning. It fits the data as it is; for a quick run we make the network
# small.


# %%
def jaxepi(line):  # as in a terminal
    assert cli.main(shlex.split(line)) == 0


def change(file, **values):  # keys of a configuration, as an editor would
    lines = Path(file).read_text().splitlines()
    for i, text in enumerate(lines):
        key = text.removeprefix("# ").split(" = ")[0]
        if key in values:
            lines[i] = f"{key} = {values.pop(key)}"
    assert not values
    Path(file).write_text("\n".join(lines))


jaxepi("train --example potential --data labels.xyz")
if QUICK:
    change("potential.toml", channels=4, lmax=1, correlation=2, interactions=1, cutoff=3.5)
    change("potential.toml", batch_atoms=8)
jaxepi(f"train potential potential.toml --epochs {40 if QUICK else 200} --no-progress")

# %% [markdown]
# The table has the errors of what was trained on and of what was kept aside; only the second tells how good the model
# is. A stopped run goes on when the same line is given again. Now the model is one file, and used like a published one.

# %%
learned = je.potentials.load("potential-training/potential.npz")
test = rattled(0.08, cubic=not QUICK)
test.calc = your_code
structure = je.Structure.from_ase(test)
forces = np.asarray(learned.forces(structure, learned.graph(structure)))
error = float(np.sqrt(np.mean((forces - test.get_forces()) ** 2)))
print(f"a crystal it has never seen: forces off by {1000 * error:.0f} meV/angstrom (root mean square)")

# %% [markdown]
# ## Labels of bands, made here
#
# For a Hamiltonian the labels are band energies at k points. The code you have is now played by the Hamiltonian of
# Jancu (1998); the bands go into a folder as DeePTB keeps them. **With a folder of your own, skip this cell.**

# %%
teacher = je.hamiltonians.load("si-jancu1998")
mesh = je.kpoints.mesh(3)  # with Gamma
parts = []
for _ in range(16 if QUICK else 60):
    atoms = rattled(0.04, cubic=False)
    structure = je.Structure.from_ase(atoms)
    bands = np.asarray(je.electrons.eigenvalues(teacher, structure, mesh.points))[:, :8]  # eV
    parts.append(
        datasets.single(
            np.asarray(structure.positions),
            np.asarray(structure.cell),
            structure.species,
            {"bands": {"energy": 0.0, "eigenvalues": bands}},
            kpoints=mesh.points,
            weights=mesh.weights,
            occupied=4,
        )
    )
level = {"bands": {"code": "jaxepi", "version": je.__version__, "settings": {"hamiltonian": "si-jancu1998"}}}
datasets.deeptb.write(datasets.gather("silicon", level, parts), "deeptb", "bands")

# %% [markdown]
# ## A Hamiltonian
#
# Learning starts from a published set of Slater-Koster parameters, here that of Niquet (2009), and a network corrects every
# bond and every atom by its surroundings. Every crystal may have a zero of energy of its own: bands are compared from the
# mean of the filled ones.

# %%
jaxepi("train --example hamiltonian --data deeptb")
if QUICK:
    change("hamiltonian.toml", channels=2, features=2, hidden=[8], lmax=1, correlation=1, cutoff=3.4, batch_atoms=8)
jaxepi(f"train hamiltonian hamiltonian.toml --epochs {60 if QUICK else 400} --no-progress")

# %% [markdown]
# ## The picture
#
# Bands of the crystal at rest, from the top of the valence band: the labels, the set we began with, and what has been
# learned.

# %%
import matplotlib.pyplot as plt

crystal = je.materials.load("silicon").primitive
path = je.kpoints.path(crystal, "LGX", 60)
models = {
    "labels": (teacher, {"color": "black", "lw": 2.5, "alpha": 0.35}),
    "before": (je.hamiltonians.load("si-niquet2009"), {"color": "C0", "ls": ":"}),
    "learned": (je.hamiltonians.load("hamiltonian-training/hamiltonian.npz"), {"color": "C1"}),
}
figure, axes = plt.subplots(layout="constrained")
for name, (hamiltonian, style) in models.items():
    bands = np.asarray(je.electrons.eigenvalues(hamiltonian, crystal, path.points))[:, :7]
    lines = axes.plot(path.distance, bands - bands[:, 3].max(), **style)
    lines[0].set_label(name)
corners = [place for place, _ in path.corners]
axes.set_xticks(corners, [name.replace("G", "Γ") for _, name in path.corners])
axes.set(xlim=(corners[0], corners[-1]), ylim=(-13, 6), ylabel="energy from the valence top (eV)", title="Silicon")
_ = axes.legend()
