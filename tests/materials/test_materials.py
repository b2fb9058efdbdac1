"""The catalogue: what loads, what its card says, and that structure, potential and Hamiltonian belong together."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from ase.data import chemical_symbols

from jaxepi import hamiltonians, materials, potentials
from jaxepi.errors import InputError
from jaxepi.materials import measured, models
from jaxepi.structure import Structure


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
    with pytest.raises(InputError, match=r"graphene has no potential; those of C are diamond-mvff, graphene-pbe-d3"):
        graphene.potential  # noqa: B018
    assert materials.load("graphene").primitive.pbc == (True, True, False)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"no material 'unobtainium'; shipped are diamond, galliumarsenide.*silicon"):
        materials.load("unobtainium")
    with pytest.raises(InputError, match="no Hamiltonian 'nobody'"):
        materials.load("silicon", hamiltonian="nobody")
    with pytest.raises(InputError, match="nobody"):
        materials.load("silicon", potential="nobody")


def test_what_is_listed_is_what_loads_and_its_elements_are_those_of_its_module():
    cards = models.shipped()
    names = {kind: {card.name for card in cards if card.kind == kind} for kind in models.KINDS}
    assert names == {"potential": set(potentials.available()), "hamiltonian": set(hamiltonians.available())}
    loaders = {"potential": potentials.load, "hamiltonian": hamiltonians.load}
    for card in cards:
        assert len(card.citation) > 20
        assert card.level == models.EMPIRICAL or "test: " in card.errors
        if card.level == models.EMPIRICAL:
            species = loaders[card.kind](card.name).module.species
            assert card.elements == tuple(sorted(chemical_symbols[z] for z in species))
    assert [card.name for card in models.holding("potential", ["Ge"])] == ["germanium-mvff"]
    lines = models.material_lines(["Ge"])
    assert any(line.startswith("germanium ") for line in lines)
    assert not any("silicon" in line for line in lines)
    assert models.material_lines(["U"]) == [
        "Nothing shipped holds U; train a model: jaxepi train --example potential or hamiltonian"
    ]


def test_a_model_of_other_elements_is_refused_with_what_fits():
    with pytest.raises(
        InputError, match=r"atom 0 is Ge; si-vogl1983 has .* Si only; those of Ge are ge-jancu1998, ge-vogl1983"
    ):
        materials.load("germanium", hamiltonian="si-vogl1983")
    with pytest.raises(
        InputError, match=r"those of As and Ga are galliumarsenide-mvff, galliumarsenide-r2scan .* train one"
    ):
        materials.load("galliumarsenide", potential="silicon-mvff")
    lead = Structure.from_ase(bulk("Pb"))
    words = models.remedy("hamiltonian", lead)
    assert words.startswith("no shipped hamiltonian has Pb")
    assert words.endswith("train one: jaxepi train --example hamiltonian")


def test_measured_facts_are_cited_and_in_range():
    for name in ("silicon", "galliumarsenide", "germanium"):
        for table in measured.absorption(name):
            assert len(table.citation) > 20
            assert table.energies.shape == table.absorption.shape
            assert np.all(np.diff(table.energies) > 0)
            assert np.all((table.absorption > 0) & (table.absorption < 1e7))
        gap = measured.gap(name)
        assert gap is not None
        assert np.all(np.diff(gap.gaps) < 0)
    np.testing.assert_allclose(measured.gap("silicon").at(300.0), 1.1242, atol=1e-4)
    np.testing.assert_allclose(measured.gap("germanium").at(300.0), 0.664, atol=1e-3)
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
        material, electrons=dataclasses.replace(material.hamiltonian, params={"h": jnp.full(2, 1j)})
    )
    assert held.astype("float32").hamiltonian.params["h"].dtype == jnp.complex64
