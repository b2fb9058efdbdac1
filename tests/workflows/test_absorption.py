"""The absorption study: it is the stages joined, survives a kill, resumes bit for bit, and compiles once."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from jaxepi import electrons, materials, optics, results, sampling
from jaxepi.errors import InputError
from jaxepi.workflows import absorption as study
from jaxepi.workflows.absorption import AbsorptionSettings
from jaxepi.workflows.reports import absorption as report

pytestmark = pytest.mark.slow

TINY = AbsorptionSettings(
    temperatures=(100.0, 300.0), supercell=1, kmesh=1, snapshots=2, equilibrium_points=2, energies=(0.5, 5.0, 46)
)


COMPILED: list[str] = []
"""Names of the programs that XLA has compiled since the first study began."""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    def listen(event, seconds, **details):
        if "backend_compile" in event:
            COMPILED.append(details.get("fun_name", ""))

    jax.monitoring.register_event_duration_secs_listener(listen)
    path = tmp_path_factory.mktemp("study") / "silicon.h5"
    found = study.absorption(TINY, path, progress=False)
    report.summary(found)
    # What is known stays on the host, and a stage is one program; this was 150 before.
    assert len(COMPILED) <= 30, COMPILED
    return found, path


def arrays(result):
    """All numbers of a result, in one order."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(dict(list(result.contents().items())[:5]))] + [
        result.valence,
        result.conduction,
    ]


def assert_identical(one, two):
    for a, b in zip(arrays(one), arrays(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_result_reads_back_as_the_same_pytrees(result):
    found = study.load(result[1])
    assert found.settings == result[0].settings
    assert found.gap_kind == "indirect"
    for name in ("snapshots", "transitions", "spectra", "fits", "equilibrium", "edges"):
        assert jax.tree.structure(getattr(found, name)) == jax.tree.structure(getattr(result[0], name)), name
    assert_identical(found, result[0])
    assert list(result[1].parent.iterdir()) == [result[1]]


def test_provenance_names_versions_models_and_settings(result):
    origin = study.load(result[1]).provenance
    assert origin["jax"] == jax.__version__
    assert origin["models"] == ["hamiltonian si-niquet2009", "potential silicon-mvff"]
    silicon = materials.load("silicon")
    assert origin["model_hash"] == results.fingerprint(silicon.hamiltonian, silicon.potential)
    assert origin["settings"]["seed"] == 0
    assert AbsorptionSettings(**results.tuples(origin["settings"])) == TINY


def test_study_is_the_stages_joined(result):
    found, _ = result
    silicon = materials.load("silicon")
    supercell = silicon.structure.supercell(1)
    drawn = sampling.harmonic(
        silicon.potential, supercell, temperature=300.0, count=2, key=jax.random.key(0), antithetic=True
    )
    np.testing.assert_allclose(found.snapshots[1].positions, drawn.positions, atol=1e-12)
    together = optics.transitions(silicon.hamiltonian, drawn, 1)
    np.testing.assert_allclose(found.transitions[1].histogram, together.histogram, rtol=1e-7, atol=1e-9)
    spectrum = together.spectrum(found.spectra[1].energies, optics.Gaussian(0.03))
    np.testing.assert_allclose(found.spectra[1].eps2, spectrum.eps2, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.spectra[1].eps1, spectrum.eps1, rtol=1e-8)
    edges = electrons.band_edges(silicon.hamiltonian, silicon.primitive)
    probe = electrons.edge_probe(edges, supercell, silicon.hamiltonian.basis.occupied(supercell.species))
    valence, conduction = electrons.thermal_edges(silicon.hamiltonian, drawn, probe)
    np.testing.assert_allclose(found.gaps[1], conduction - valence, atol=1e-9)


def test_warmth_and_zero_point_motion_close_the_gap(result):
    gaps = result[0].gaps.mean(axis=1)
    assert gaps[1] < gaps[0] < float(result[0].edges.gap)
    assert all(row.measured > 1.1 for row in report.gap_rows(result[0]))


def test_four_temperatures_compile_nothing_that_one_does_not(result, tmp_path):
    before = len(COMPILED)
    one = dataclasses.replace(TINY, temperatures=(250.0,), seed=1)
    study.absorption(one, tmp_path / "one.h5", progress=False)
    for_one = len(COMPILED) - before
    four = dataclasses.replace(TINY, temperatures=(120.0, 220.0, 320.0, 420.0), seed=2)
    study.absorption(four, tmp_path / "four.h5", progress=False)
    assert len(COMPILED) - before == for_one
    none = dataclasses.replace(four, gap_kind="none", seed=3)
    study.absorption(none, tmp_path / "none.h5", progress=False)
    assert len(COMPILED) - before == for_one


def test_interrupted_study_resumes_bit_for_bit(result, tmp_path, monkeypatch):
    path, compute, calls = tmp_path / "silicon.h5", study._Stages.compute, []

    def interrupted(self, prepared, item):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(item)
        return compute(self, prepared, item)

    monkeypatch.setattr(study._Stages, "compute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.absorption(TINY, path, progress=False)
    assert not path.exists()
    kept = sorted(file.name for file in (tmp_path / "silicon.h5.parts").glob("snapshot*"))
    assert kept == ["snapshot-000-00000.h5", "snapshot-000-00001.h5", "snapshot-001-00000.h5"]
    calls.clear()
    assert_identical(study.absorption(TINY, path, progress=False), result[0])
    assert calls == [(1, 1)]
    calls.clear()
    assert_identical(study.absorption(TINY, path, progress=False), result[0])
    assert not calls


KILLED = """
import json, sys, jax
jax.config.update("jax_enable_x64", True)
from jaxepi.results import tuples
from jaxepi.workflows.absorption import AbsorptionSettings, absorption
absorption(AbsorptionSettings(**tuples(json.loads(sys.argv[1]))), sys.argv[2], progress=False)
"""


def test_killed_process_leaves_readable_files_and_resumes_bit_for_bit(result, tmp_path):
    path = tmp_path / "silicon.h5"
    process = subprocess.Popen([sys.executable, "-c", KILLED, json.dumps(TINY.asdict()), str(path)])
    first = tmp_path / "silicon.h5.parts" / "snapshot-000-00000.h5"
    deadline = time.monotonic() + 300
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not path.exists()
    for part in first.parent.glob("*.h5"):
        results.read(part)
    assert_identical(study.absorption(TINY, path, progress=False), result[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0.05}, "width was 0.03 and is now 0.05"),
        ({"temperatures": (100.0,)}, "temperatures was"),
        ({"potential": "silicon-sw1985"}, "potential was None and is now 'silicon-sw1985'"),
    ],
)
def test_other_settings_are_refused_by_name(result, change, message):
    with pytest.raises(InputError, match=message):
        study.absorption(dataclasses.replace(TINY, **change), result[1], progress=False)


def test_resources_may_differ(result):
    assert_identical(study.absorption(dataclasses.replace(TINY, memory_gb=4.0), result[1], progress=False), result[0])


def test_single_precision_has_to_be_asked_for(tmp_path):
    with jax.enable_x64(False), pytest.raises(InputError, match="precision float64"):
        study.absorption(TINY, tmp_path / "silicon.h5", progress=False)


def test_table_states_gaps_windows_and_differences(result):
    text = report.summary(result[0])
    assert "1.20 to 1.50" in text
    assert "measured" in text
    row = report.gap_rows(result[0])[1]
    assert f"{1e3 * (row.edges - row.measured):+.0f}" in text
    assert np.isnan(row.error)


def test_csv_has_units_and_the_numbers(result, tmp_path):
    path = tmp_path / "silicon.csv"
    report.write_csv(result[0], path)
    lines = path.read_text().splitlines()
    assert any(line.startswith("# absorption in 1/cm") for line in lines)
    header = next(line for line in lines if not line.startswith("#")).split(",")
    table = np.genfromtxt(lines, delimiter=",", comments="#", skip_header=len(lines) - 3 * 46)
    assert table.shape == (3 * 46, len(header))
    warm = table[table[:, 0] == 300.0]
    np.testing.assert_allclose(warm[:, header.index("absorption")], result[0].spectra[1].absorption(), rtol=1e-8)
    spread = result[0].spectra[1].spread(optics.refractive_index)
    np.testing.assert_allclose(warm[:, header.index("n_spread")], spread, rtol=1e-6)
    assert np.isnan(table[-1, 0])
