"""Models of mace-torch as checkpoints: its energies and forces, where it is installed, and what is refused."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="mace-torch is not installed")
pytest.importorskip("mace", reason="mace-torch is not installed")

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "peers"))

import convert_mace  # noqa: E402
import mace_torch  # noqa: E402

from jaxepi import potentials  # noqa: E402

HYPER = {"cutoff": 4.0, "radial_features": 8, "radial_layers": [12, 12], "channels": 4}


@pytest.fixture(autouse=True)
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def untrained(lmax, hidden, correlation, interactions, species):
    torch.manual_seed(0)
    more = {"lmax": lmax, "hidden_lmax": hidden, "correlation": correlation, "interactions": interactions}
    model = mace_torch.network({**HYPER, **more}, species)
    model.scale_shift.scale, model.scale_shift.shift = torch.tensor(0.8), torch.tensor(0.3)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1, 0, 1, 2, [14]), (2, 1, 2, 2, [31, 33]), (3, 2, 3, 3, [31, 33])])
def test_energy_and_forces_are_those_of_mace_torch(sizes, tmp_path, monkeypatch):
    model = untrained(*sizes)
    torch.save(model, tmp_path / "mace.model")
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "mace.model"), str(tmp_path / "mace.npz")])
    convert_mace.main()
    found = convert_mace.both(model, potentials.load(tmp_path / "mace.npz"), convert_mace.sample(model))
    assert max(convert_mace.difference(found)) < 1e-10


def test_parts_that_are_not_spanned_are_refused_by_name():
    model = untrained(1, 0, 1, 2, [14])
    model.heads = ["dft", "ccsd"]
    with pytest.raises(SystemExit, match=r"2 heads of this model has no counterpart.*from_ase"):
        convert_mace.refuse_outside(model)
    model.heads, model.pair_repulsion = ["dft"], True
    with pytest.raises(SystemExit, match="the pair repulsion of this model"):
        convert_mace.refuse_outside(model)
    model.pair_repulsion, model.radial_embedding.bessel_fn = False, torch.nn.Identity()
    with pytest.raises(SystemExit, match="the radial functions Identity"):
        convert_mace.refuse_outside(model)
