"""The catalogue: what loads, what its card says, and that structure, potential and Hamiltonian belong together."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import materials
from jaxepi.errors import InputError
from jaxepi.materials import measured


@pytest.mark.parametrize("name", materials.available())
def test_every_material_fits_together(name):
    material = materials.load(name)
    card = dict(material.card)
    assert all(card[key] for key in ("description", "hamiltonian", "potential", "domain"))
    graph = material.hamiltonian.graph(material.primitive)
    assert graph.n_edges > 0
    assert material.gap_kind in ("direct", "indirect", "none")
    ratio = len(material.structure) / len(material.primitive)
    np.testing.assert_allclose(material.structure.volume, ratio * material.primitive.volume, rtol=1e-10)
    if material.ions is not None:
        # The crystal stands at rest in its potential.
        forces = material.potential.forces(material.structure, material.potential.graph(material.structure))
        np.testing.assert_allclose(forces, 0, atol=1e-8)


def test_other_models_can_be_chosen_by_name():
    material = materials.load("silicon", hamiltonian="si-jancu1998", spin_orbit=True)
    assert material.hamiltonian.module.name == "si-jancu1998"
    assert material.hamiltonian.basis.spinor
    assert "Jancu" in dict(material.card)["hamiltonian"]
    graphene = materials.load("graphene")
    assert graphene.ions is None
    assert list(graphene.models()) == ["hamiltonian graphene-trambly2010"]
    with pytest.raises(InputError, match=r"graphene has no potential: give one .* graphene-pbe-d3"):
        graphene.potential  # noqa: B018
    assert materials.load("graphene").primitive.pbc == (True, True, False)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"no material 'unobtainium'; shipped are galliumarsenide.*silicon"):
        materials.load("unobtainium")
    with pytest.raises(InputError, match="no Hamiltonian 'nobody'"):
        materials.load("silicon", hamiltonian="nobody")
    with pytest.raises(InputError, match="nobody"):
        materials.load("silicon", potential="nobody")


def test_measured_facts_are_cited_and_in_range():
    for name in ("silicon", "galliumarsenide"):
        for table in measured.absorption(name):
            assert len(table.citation) > 20
            assert table.energies.shape == table.absorption.shape
            assert np.all(np.diff(table.energies) > 0)
            assert np.all((table.absorption > 0) & (table.absorption < 1e7))
        gap = measured.gap(name)
        assert gap is not None
        assert np.all(np.diff(gap.gaps) < 0)
    np.testing.assert_allclose(measured.gap("silicon").at(300.0), 1.1242, atol=1e-4)
    np.testing.assert_allclose(measured.gap("galliumarsenide").at(300.0), 1.4225, atol=1e-3)
    assert np.isnan(measured.gap("silicon").at(2000.0))
    assert measured.absorption("graphene") == []
    assert measured.gap("graphene") is None


def test_a_material_is_a_pytree():
    material = materials.load("galliumarsenide")
    doubled = jax.tree.map(lambda x: 2 * jnp.asarray(x), material)
    np.testing.assert_allclose(doubled.primitive.cell, 2 * material.primitive.cell)
    assert doubled.name == "galliumarsenide"


def test_precision_changes_everywhere_and_complex_numbers_stay_complex():
    material = materials.load("silicon", spin_orbit=True)
    single = material.astype("float32")
    assert single.structure.positions.dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves((single.electrons, single.ions))} == {jnp.dtype("float32")}
    held = dataclasses.replace(
        material, electrons=dataclasses.replace(material.hamiltonian, params={"h": jnp.ones(2) * 1j})
    )
    assert held.astype("float32").hamiltonian.params["h"].dtype == jnp.complex64
