"""Sweeps over temperature: the numbers of single snapshots on one device, from eight that say nothing to one another."""

import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.errors import InputError
from jaxepi.machines import Devices
from jaxepi.workflows.settings import AbsorptionSettings
from jaxepi.workflows.sweeps import Sweep

PROGRAM = """
import json, sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import jaxepi as je
from jaxepi.machines import Devices
from jaxepi.workflows.absorption import load

options = dict(cell="primitive", supercell=1, sampling="random", snapshots=1, twists=2, equilibrium_points=2)
energies = np.linspace(1.5, 4.0, 6)
# Three snapshots of two points each, on two by four devices: both are padded.
sweep = je.workflows.sweep(
    "silicon", "299.8:300.2:0.2", sys.argv[1], devices=Devices(8, 4), energies=(1.5, 4.0, 6), width=0.1, **options
)
study = load(sys.argv[1])
silicon, drawn = je.materials.load("silicon"), study.snapshots[1]
points, graph = je.kpoints.quasirandom(2), silicon.hamiltonian.graph(drawn.structure)
binned = je.optics.transitions(silicon.hamiltonian, drawn, points, graph=graph)
eps = np.asarray(binned.spectrum(energies, je.optics.Gaussian(0.1)).mean())
print(json.dumps({
    "eps": np.abs(eps / [sweep.eps1[1], sweep.eps2[1]] - 1).max(),
    "gaps": sweep.gaps.tolist(),
    "slope": np.abs((sweep.absorption()[2] - sweep.absorption()[0]) / 0.4 / sweep.absorption_slope()[1] - 1).max(),
}))
"""


@pytest.mark.slow
def test_eight_devices_give_the_numbers_of_one_and_gather_nothing(tmp_path):
    flags = (
        f"--xla_force_host_platform_device_count=8 --xla_dump_to={tmp_path}/text --xla_dump_hlo_module_re=.*spread.*"
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "sweep.h5")],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["eps"] < 1e-10
    assert found["slope"] < 1e-4
    change = np.diff(found["gaps"])
    assert 1e-6 < abs(change[0]) < 1e-3
    assert abs(change[1] / change[0] - 1) < 1e-2
    texts = [file.read_text() for file in (tmp_path / "text").glob("*after_optimizations.txt")]
    assert any("num_partitions=8" in text for text in texts)
    for text in texts:
        assert not re.findall(r"all-gather|all-reduce|all-to-all|collective|reduce-scatter", text)


def cubic():
    """A sweep whose every value is a cubic function of temperature."""
    t, w = np.array([0.0, 100.0, 250.0]), np.array([1.0, 2.0])
    curve = np.polynomial.Polynomial([1.0, 2e-3, -3e-6, 4e-9])
    values, slopes = curve(t)[:, None] * w, curve.deriv()(t)[:, None] * w
    arrays = t, w, 10 + values, values, slopes, slopes, np.array([1.1, 1.0, 0.9]), np.zeros(3)
    return Sweep(*(jnp.asarray(array) for array in arrays)), curve


def test_a_sweep_is_a_smooth_function_of_temperature():
    sweep, curve = cubic()
    for t in (0.0, 40.0, 100.0, 249.0, 250.0):
        np.testing.assert_allclose(sweep.at(t)[1], curve(t) * np.array([1.0, 2.0]), rtol=1e-12)
    one = jax.jit(jax.value_and_grad(lambda t: sweep.at(t)[1][0]))
    np.testing.assert_allclose(one(170.0), [curve(170.0), curve.deriv()(170.0)], rtol=1e-12)
    assert np.isnan(one(251.0)).all()
    with pytest.raises(InputError, match="the sweep goes from 0 to 250 K"):
        sweep.at(251.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sampling": "special"}, "sampling special has no derivative"),
        ({"statistics": "classical", "temperatures": (0.0, 10.0)}, "statistics classical at 0 K"),
        ({"expansion": "e.h5"}, "expansion has no derivative"),
    ],
)
def test_snapshots_without_a_derivative_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        AbsorptionSettings(crystal="silicon", slopes=True, **given)


def test_devices_that_are_not_there_or_do_not_divide_are_refused():
    there = len(jax.local_devices())
    with pytest.raises(InputError, match=rf"devices {there + 1}: this process has {there} \(cpu\)"):
        Devices(there + 1).mesh()
    with pytest.raises(InputError, match=f"devices-per-snapshot {there + 1} does not divide {there} devices; give 1"):
        Devices(None, there + 1).mesh()
    assert Devices(1).mesh().shape == {"snapshot": 1, "k": 1}
