"""An ASE calculator in place of a potential, from the command line."""

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write

from jaxepi import cli
from jaxepi.errors import InputError
from jaxepi.workflows.settings import AbsorptionSettings, PhononsSettings, SamplingSettings

TIRED = """
from ase.calculators.emt import EMT

class Tired(EMT):
    done = 0
    def calculate(self, *arguments, **options):
        if Tired.done == {limit}:
            raise RuntimeError("the machine goes down")
        Tired.done += 1
        super().calculate(*arguments, **options)
"""


def test_what_does_not_go_with_a_calculator_is_refused():
    with pytest.raises(InputError, match=r"phonons a.yaml and calculator emt: both hold the atoms in place"):
        PhononsSettings("copper.cif", phonons="a.yaml", calculator="emt")
    with pytest.raises(InputError, match=r"displacement is of a calculator: give one \(--calculator NAME\)"):
        AbsorptionSettings("copper.cif", displacement=0.02)
    with pytest.raises(InputError, match=r"calculator emt: molecular dynamics needs a potential of jaxepi"):
        SamplingSettings("copper.cif", calculator="emt", sampling="molecular-dynamics", statistics="classical")
    with pytest.raises(
        InputError, match=r"calculator decides how snapshots are drawn, and trajectory a.xyz holds them"
    ):
        AbsorptionSettings("copper.cif", calculator="emt", trajectory="a.xyz")


@pytest.mark.slow
def test_an_interrupted_calculation_goes_on_and_gives_phonons_and_snapshots(tmp_path, monkeypatch, capsys):
    """EMT's copper: frequencies at X within 15 % of measured 5.0 and 7.3 THz; snapshots from the same folder of forces."""
    monkeypatch.chdir(tmp_path)
    write("copper.xyz", bulk("Cu", a=3.59, cubic=True))
    line = ["phonons", "copper.xyz", "--calculator", "tired.py:Tired", "--supercell", "2", "--points", "20"]
    (tmp_path / "tired.py").write_text(TIRED.format(limit=1))
    assert cli.main(line) == 2
    assert "the machine goes down); forces that are done are kept in copper-forces-8" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "copper-forces-8").iterdir()] == ["rest.npz"]
    (tmp_path / "tired.py").write_text(TIRED.format(limit=-1))
    assert cli.main(line) == 0
    out = capsys.readouterr().out
    assert "force constants of tired.py:Tired: 8 atoms, 2x2x2 cells" in out
    at_x = [float(word) for row in out.splitlines() if row.split()[:1] == ["X"] for word in row.split()[1:]]
    np.testing.assert_allclose(at_x[:3], [5.0, 5.0, 7.3], rtol=0.15)  # speeds of sound towards X come after them
    line = ["sample", "copper.xyz", "--calculator", "emt", "--supercell", "1", "--snapshots", "2", "--no-progress"]
    assert cli.main([*line, "--forces", "copper-forces-8"]) == 2
    assert "displacement or calculator (tired.py:Tired); give another folder (--forces)" in capsys.readouterr().err
    assert cli.main(line) == 0
    assert len(read("copper-snapshots.xyz", ":")) == 2
