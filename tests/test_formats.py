"""The examples of docs/formats.md: each is a whole file that loads."""

import re
from pathlib import Path

import pytest

from jaxepi import hamiltonians, potentials
from jaxepi.structure import Structure

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text()
FILES = {
    name: (section, text)
    for section in ("Potentials", "Hamiltonians")
    for name, text in re.findall(
        r"^`(\S+)`:\n\n```\w*\n(.*?)^```",
        PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0],
        re.DOTALL | re.MULTILINE,
    )
}


def test_every_section_has_its_examples():
    assert set(FILES) == {"silicon.json", "Si.sw", "vogl.json", "deeptb.json"}


@pytest.mark.parametrize("name", FILES)
def test_the_examples_load(name, tmp_path):
    section, text = FILES[name]
    (tmp_path / name).write_text(text)
    model = (potentials if section == "Potentials" else hamiltonians).load(str(tmp_path / name))
    z = model.module.species[0]
    length = {14: 5.43, 6: 3.57}[z]
    crystal = Structure.create(
        [[0.0] * 3, [length / 4] * 3],
        [[0, length / 2, length / 2], [length / 2, 0, length / 2], [length / 2, length / 2, 0]],
        [z, z],
    )
    assert model.graph(crystal).n_edges >= 8
    if section == "Hamiltonians":
        assert model.basis.occupied(crystal.species) == 4


def test_the_examples_are_the_shipped_sets(tmp_path):
    for name in ("vogl.json", "silicon.json"):
        (tmp_path / name).write_text(FILES[name][1])
    mine, shipped = hamiltonians.load(tmp_path / "vogl.json"), hamiltonians.load("si-vogl1983")
    assert mine.params["onsite"].tolist() == shipped.params["onsite"].tolist()
    assert potentials.load(tmp_path / "silicon.json").module == potentials.load("silicon-sw1985").module
