"""Times mace-torch on structures and hyperparameters given as JSON on stdin; prints JSON. Run by benchmark_potential.py.

Needs its own environment: pip install torch==2.13.0 mace-torch==0.3.16
"""

import json
import sys
import time

import numpy as np
import torch
from ase import Atoms

# e3nn 0.4 keeps its constants in a file that torch 2.6 and later distrusts.
torch.serialization.add_safe_globals([slice])

from e3nn import o3  # noqa: E402
from mace import data, modules, tools  # noqa: E402
from mace.tools import torch_geometric  # noqa: E402


def network(model: dict, species: list[int]) -> torch.nn.Module:
    """The architecture of `model` (keys of jaxepi.potentials.learned), untrained."""
    hidden = "+".join(f"{model['channels']}x{l}{'eo'[l % 2]}" for l in range(model["hidden_lmax"] + 1))
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    return modules.ScaleShiftMACE(
        r_max=model["cutoff"],
        num_bessel=model["radial_features"],
        num_polynomial_cutoff=5,
        max_ell=model["lmax"],
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=model["interactions"],
        num_elements=len(species),
        hidden_irreps=o3.Irreps(hidden),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(species)),
        avg_num_neighbors=26.0,
        atomic_numbers=species,
        correlation=model["correlation"],
        gate=torch.nn.functional.silu,
        radial_MLP=model["radial_layers"],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def main() -> None:
    """Read the task, run it, print the seconds."""
    task = json.load(sys.stdin)
    torch.set_num_threads(task["threads"])
    torch.set_default_dtype({"float32": torch.float32, "float64": torch.float64}[task["dtype"]])
    torch.manual_seed(0)
    model = network(task["model"], task["species"])
    table = tools.AtomicNumberTable(task["species"])
    out: dict = {"version": __import__("mace").__version__, "torch": torch.__version__, "forces": {}}
    batches = {}
    for cell in task["structures"]:
        atoms = Atoms(cell["numbers"], positions=cell["positions"], cell=cell["cell"], pbc=True)
        config = data.config_from_atoms(atoms)
        one = data.AtomicData.from_config(config, z_table=table, cutoff=task["model"]["cutoff"])
        batches[len(atoms)] = next(iter(torch_geometric.dataloader.DataLoader([one], batch_size=1))).to_dict()
    for count, batch in batches.items():
        out["forces"][count] = best(lambda batch=batch: model(batch, training=False), task["repeats"])
    out["training"] = training(model, batches[64], task["repeats"])
    print(json.dumps(out))


def training(model: torch.nn.Module, batch: dict, repeats: int) -> float:
    """Seconds of one step on energy and forces of 64 atoms."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)

    def step():
        optimizer.zero_grad()
        found = model(batch, training=True)
        loss = (found["energy"] ** 2).sum() + 100 * (found["forces"] ** 2).mean()
        loss.backward()
        optimizer.step()

    return best(step, repeats)


def best(run, repeats: int) -> float:
    """Shortest of several runs, seconds, after one that warms up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
