"""ASE calculators by name, and what is no calculator."""

import pytest
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from jaxepi.errors import InputError
from jaxepi.sampling.named_calculators import calculator


def test_names_of_ase_of_modules_and_of_files(tmp_path):
    assert isinstance(calculator("emt"), EMT)
    given = calculator("ase.calculators.lj:LennardJones", ["sigma=3.4", "smooth=true"])
    assert isinstance(given, LennardJones)
    assert (given.parameters["sigma"], given.parameters["smooth"]) == (3.4, True)
    script = tmp_path / "mine.py"
    script.write_text(
        "from ase.calculators.lj import LennardJones\ndef make(label):\n    return LennardJones(label=label)\n"
    )
    assert calculator(f"{script}:make", ["label=run/one"]).label == "run/one"
    script.write_text("from ase.calculators.emt import EMT\nready = EMT()\n")
    assert isinstance(calculator(f"{script}:ready"), EMT)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("emtt", (), r"calculator 'emtt': ASE has none of that name.*file.py:function"),
        ("nowhere.to.be:Found", (), r"'nowhere.to.be' cannot be imported \(ModuleNotFoundError"),
        ("gone.py:make", (), r"'gone.py' cannot be imported \(FileNotFoundError: there is no such file\)"),
        ("ase.calculators.emt:Emt", (), r"ase.calculators.emt has no 'Emt'"),
        ("math:isqrt", ("n=4",), r"calculator math:isqrt cannot be made with .*TypeError"),
        ("builtins:dict", ("a=4",), r"makes dict, which is no calculator of ASE"),
        ("emt", ("fixed",), r"calculator option 'fixed': give name=value"),
    ],
)
def test_what_is_no_calculator_is_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        calculator(name, options)
