"""H(k), S(k), dH/dk and bands of DeePTB in float64, for tasks given as JSON on stdin. Run by check_deeptb.py.

Needs its own environment: pip install torch==2.5.1 torch_scatter==2.1.2 dptb==2.2.1
"""

import functools
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import dptb
from ase import Atoms
from convert_deeptb import exported, model_of
from dptb.data import AtomicData, AtomicDataDict
from dptb.nn.deeptb import MIX
from dptb.nn.hr2hk import HR2HK
from dptb.nn.nnsk import NNSK
from dptb.nn.sktb import socbasic
from dptb.utils.argcheck import get_cutoffs_from_model_options


def trained(task: dict) -> NNSK:
    """A model with parameters drawn at random, of the size that training gives them."""
    torch.manual_seed(task["seed"])
    common = {"basis": task["basis"], "overlap": task["overlap"], "dtype": "float64", "device": "cpu"}
    if "embedding" in task:
        model = MIX(nnsk=task["nnsk"], embedding=task["embedding"], prediction=task["prediction"], **common)
    else:
        model = NNSK(**task["nnsk"], **common)
    for parameter in model.parameters():
        parameter.data = 0.1 * torch.randn_like(parameter)
    if task["overlap"]:
        getattr(model, "nnsk", model).overlap_param.data *= 0.1
    return model


def matrices(model: NNSK, structure: dict, kpoints: list) -> dict[str, np.ndarray]:
    """Of one structure at fractional k points, in the gauge that turns with the positions."""
    r_max, er_max, oer_max = get_cutoffs_from_model_options(model.model_options)
    atoms = Atoms(structure["numbers"], positions=structure["positions"], cell=structure["cell"], pbc=True)
    lengths = {"r_max": r_max, "er_max": er_max, "oer_max": oer_max}
    data = AtomicData.from_ase(atoms, **{k: v for k, v in lengths.items() if v is not None})
    data[AtomicDataDict.KPOINT_KEY] = torch.nested.as_nested_tensor([torch.tensor(kpoints, dtype=torch.float64)])
    set_ = getattr(model, "nnsk", model)
    data = model(set_.idp_sk(AtomicData.to_AtomicDataDict(data)))
    out = {}
    common = {"idp": set_.hamiltonian.idp, "dtype": torch.float64}
    data = HR2HK(**common, gauge=True, derivative=not data[AtomicDataDict.NODE_SOC_SWITCH_KEY].all())(data)
    out["h"] = data[AtomicDataDict.HAMILTONIAN_KEY].detach().numpy()
    if AtomicDataDict.HAMILTONIAN_DERIV_KEY in data:
        out["dh"] = np.moveaxis(data[AtomicDataDict.HAMILTONIAN_DERIV_KEY].detach().numpy(), -1, 1)
    if hasattr(model, "overlap"):
        fields = {
            "edge_field": AtomicDataDict.EDGE_OVERLAP_KEY,
            "node_field": AtomicDataDict.NODE_OVERLAP_KEY,
            "out_field": AtomicDataDict.OVERLAP_KEY,
        }
        data = HR2HK(**common, **fields, overlap=True, gauge=True)(data)
        out["s"] = data[AtomicDataDict.OVERLAP_KEY].detach().numpy()
    return out


def main() -> None:
    """Run the tasks; write what they give into the folder named on the command line."""
    torch.set_default_dtype(torch.float64)
    for name in ("lm2cubic_mat", "get_matrix_lmbasis"):  # in single precision whatever is asked for, which then fails
        setattr(socbasic, name, functools.partial(getattr(socbasic, name), dtype=torch.float64))
    folder, job = Path(sys.argv[1]), json.load(sys.stdin)
    root = Path(dptb.__file__).parent
    for task in job["tasks"]:
        path = folder / f"{task['name']}.json"
        if "checkpoint" in task:
            options = None
            if "options" in task:
                options = folder / "options.json"
                options.write_text(json.dumps(task["options"]))
            model = model_of(str(root / task["checkpoint"]), options and str(options))
        else:
            model = trained(task)
        path.write_text(json.dumps(exported(model)))
        np.savez(folder / f"{task['name']}.npz", **matrices(model, task["structure"], job["kpoints"]))
    print(json.dumps({"dptb": getattr(dptb, "__version__", "?"), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
