"""Results show themselves in notebooks: their numbers stand in the page, whatever is traced shows as text alone."""

import xml.etree.ElementTree as ElementTree

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi import html, materials, plotting
from jaxepi.electrons import BandEdges
from jaxepi.kpoints import Path
from jaxepi.optics import Spectrum
from jaxepi.sampling import Snapshots, Trajectory
from jaxepi.structure import Structure
from jaxepi.workflows.bands import Bands, GapSummary, ThermalGaps
from jaxepi.workflows.dynamics import Run
from jaxepi.workflows.settings import DynamicsSettings

CELL = Structure.create([[0.0, 0, 0], [2.0, 2, 2]], 4 * np.eye(3), [31, 33])
EDGES = BandEdges(jnp.zeros((1, 3)), jnp.ones((6, 3)), jnp.array(0.0), jnp.array(1.25), jnp.array(3.0), (3, 1))
SNAPSHOTS = Snapshots(
    CELL, CELL.positions[None] + jnp.array([[[0.1, 0, 0]] * 2] * 4), 300.0, None, (0, 1, 0, 1), "quantum"
)
ENERGIES = jnp.linspace(1.0, 2.0, 11)
EPS = jnp.ones((4, 11, 1, 1)) * ENERGIES[None, :, None, None]
SPECTRUM = Spectrum(ENERGIES, 10 * EPS, EPS)
GAPS = ThermalGaps((SNAPSHOTS,), np.array([[1.0, 1.1, 1.1, 1.2]]))


def shown(result, *words):
    page = result._repr_html_()
    ElementTree.fromstring(f"<page>{page}</page>")
    assert all(word in page for word in words), page
    return page


def test_numbers_of_results_stand_in_the_page():
    shown(CELL, "Structure", "4.0000, 4.0000, 4.0000", "64.000", "<td")
    shown(SNAPSHOTS, ">4<", "GaAs, 2 atoms", "300", "quantum", ">2<", "0.1000")
    shown(SPECTRUM, "1 to 2, 11", f"{float(SPECTRUM.absorption()[0]):.4g}", "<svg", "polyline")
    shown(EDGES, "1.2500, indirect", "at 6 k, 1 states each")
    shown(GapSummary(EDGES, np.zeros(3), np.zeros(3), {"G": 3.0}), "1.2500", "vertical gap at G", "3.0000")
    shown(GAPS, "300 K", "1.100 +- 0.050 eV")


def test_materials_and_runs_show_what_they_are(tmp_path):
    silicon = materials.load("silicon")
    shown(silicon, "silicon", "si-niquet2009", "silicon-mvff", "measured lattice constant", "Structure")
    zero = jnp.full((1, 4, 2), 290.0)
    run = Trajectory(CELL, jnp.arange(1.0, 5.0), jnp.zeros((1, 4, 2, 2, 3)), jnp.array([300.0]), zero, zero, zero)
    none = np.zeros((1, 4, 2))
    settings = DynamicsSettings(crystal="silicon", replicas=2)
    found = Run(settings, run, none, none, "an atom left", (), (tmp_path / "md.h5",))
    shown(found, "Molecular dynamics of silicon", "4 to 0.004 ps", "290.0, spread 0.0", "an atom left", "md.h5")


def test_nothing_is_shown_of_what_is_traced():
    pages = []
    jax.jit(lambda *held: pages.extend(one._repr_html_() for one in held))(CELL, SNAPSHOTS, SPECTRUM, EDGES)
    assert pages == [None] * 4


def test_figures_show_themselves_without_pyplot():
    path = Path(np.zeros((3, 3)), np.linspace(0, 1, 3), [(0.0, "G"), (1.0, "X")])
    figure = plotting.bands(path, np.linspace(-1, 1, 6).reshape(3, 2), -0.2, 0.3, (-3.0, 4.0))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.axes[0].get_ylim() == (-3, 4)
    assert figure.axes[0].get_ylabel() == "energy from the valence top (eV)"
    shown(Bands(path, np.linspace(-1, 1, 6).reshape(3, 2), 1), "<img", "data:image/png;base64,")


def test_text_of_a_page_is_escaped():
    assert "&lt;b&gt;" in html.table("<b>", [("a & b", "<i>")])
    assert "&amp;" in html.table("t", [("a & b", 1)])
    assert html.curve([1, 2], [0.0, 0.0], "x", "y") == ""
