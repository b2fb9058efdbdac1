"""`jaxepi expand`: a study that goes on, what reads its result, and what it refuses."""

import dataclasses

import numpy as np
import pytest

from jaxepi import cli, materials, potentials, results
from jaxepi.errors import InputError
from jaxepi.structure import Structure
from jaxepi.workflows import expansion, samples
from jaxepi.workflows.reports.expansion import expansion_lines
from jaxepi.workflows.settings import ExpandSettings, SamplingSettings

ASKED = ExpandSettings(
    potential="silicon-sw1985", supercell=1, mesh=2, volumes=5, temperatures=(0.0, 300.0), cell_temperature=0.0
)


@pytest.mark.slow
def test_a_result_is_kept_and_read(tmp_path):
    """The crystal grows; snapshots of a temperature have its lattice constant; a second call computes nothing."""
    material = dataclasses.replace(materials.load("silicon", potential="silicon-sw1985"), electrons=None)
    path = tmp_path / "expansion.h5"
    found = expansion.expansion(ASKED, material, path)
    assert found.states.coefficient[1] > 0
    again = expansion.expansion(ASKED, dataclasses.replace(material), path)
    np.testing.assert_allclose(again.lengths, found.lengths, rtol=1e-12)
    factors = expansion.factor_of(path, [0.0, 300.0], material.primitive)
    np.testing.assert_allclose(factors, found.states.factor / found.states.factor[0], rtol=1e-9)
    text = expansion_lines(found)
    assert text[2].split()[0] == "0"
    assert len(text) == 5
    drawn = samples.draw(
        SamplingSettings(potential="silicon-sw1985", temperatures=(0.0, 300.0), snapshots=2, expansion=str(path)),
        material,
        material.structure.supercell(1),
    )
    cells = [np.asarray(one.structure.cell) for one in drawn]
    np.testing.assert_allclose(cells[1], cells[0] * factors[1], rtol=1e-9)
    results.write(tmp_path / "other.h5", {"numbers": results.Quantity(np.ones(1), "1")}, {})
    with pytest.raises(InputError, match=r"other\.h5 is no result of `jaxepi expand`"):
        expansion.factor_of(tmp_path / "other.h5", [0.0], material.primitive)
    with pytest.raises(InputError, match="give the crystal that they were"):
        expansion.factor_of(path, [0.0], materials.load("galliumarsenide").primitive)


@pytest.mark.slow
def test_rest_is_found_from_far_off():
    """Lengths and atoms out of place by some percent; and a layer keeps its box."""
    potential, cell = potentials.load("silicon-sw1985"), materials.load("silicon").primitive
    away = cell.with_positions(np.asarray(cell.positions) + np.array([[0, 0, 0], [0.1, -0.05, 0.08]])).scaled(1.03)
    found = potentials.relaxed(potential, away)
    np.testing.assert_allclose(found.cell, np.asarray(cell.cell) * 5.43095 / 5.431, rtol=1e-5)
    np.testing.assert_allclose(found.positions[1] - found.positions[0], found.cell.sum(axis=0) / 4, atol=1e-6)


def test_directions_that_expand_alike():
    box = np.diag([3.0, 3.0, 4.0])
    assert expansion.strains(Structure.create([[0.0, 0, 0]], 3 * np.eye(3), [14])) == 1
    assert expansion.strains(Structure.create([[0.0, 0, 0]], box, [14])) == 2
    assert expansion.strains(Structure.create([[0.0, 0, 0]], box, [14], (True, True, False))) == 1
    layer = potentials.stretched(Structure.create([[0.0, 0, 1.0]], box, [14], (True, True, False)), 1.1)
    np.testing.assert_allclose(layer.cell, np.diag([3.3, 3.3, 4.0]), atol=1e-12)


def test_refusals(tmp_path, capsys):
    with pytest.raises(InputError, match=r"strain 0\.01 to 0\.02: give a negative and a positive one"):
        ExpandSettings(strain=(0.01, 0.02))
    with pytest.raises(InputError, match="molecular-dynamics has one lattice constant for all temperatures"):
        SamplingSettings(expansion="a.h5", sampling="molecular-dynamics", statistics="classical")
    assert cli.main(["expand", "graphene", "--output", str(tmp_path / "x.h5")]) == 2
    assert "graphene has no potential" in capsys.readouterr().err
