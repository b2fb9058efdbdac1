"""Labelling: going on, recorded failures, refusals by name, interrupts, and packing, with an engine that costs nothing."""

import ase
import ase.io
import numpy as np
import pytest
import refused
from ase.build import bulk
from ase.calculators.emt import EMT

from jaxepi import datasets
from jaxepi.errors import InputError
from jaxepi.labelling import engines, imported, labels, packing
from jaxepi.labelling.engines.espresso import Espresso, read_xml
from jaxepi.labelling.recipes import RECIPES
from jaxepi.labelling.structures import annotate, sets

LEVELS = {"emt": {"code": "ASE EMT", "version": "1", "settings": {}}}


class Toy:
    """Any ASE calculator is an engine: this one is EMT, and fails where it is told to."""

    levels = LEVELS

    def __init__(self, fail: int | None = None):
        self.fail, self.calls = fail, 0

    def check(self, atoms: ase.Atoms) -> None:
        if set(atoms.get_chemical_symbols()) - {"Cu"}:
            raise InputError("no pseudopotential for Si; this recipe has ['Cu']")

    def label(self, atoms: ase.Atoms) -> dict[str, np.ndarray]:
        self.calls += 1
        if self.calls - 1 == self.fail:
            raise engines.LabelFailure("emt: the self-consistent cycle did not converge")
        atoms = atoms.copy()
        atoms.calc = EMT()
        return {
            "emt/energy": np.array(atoms.get_potential_energy()),
            "emt/forces": atoms.get_forces(),
            "emt/seconds": np.array(0.5),
        }


@pytest.fixture
def structures() -> list[ase.Atoms]:
    rng = np.random.default_rng(0)
    out = []
    for _ in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=0.05, size=(4, 3))
        out.append(annotate(atoms, "thermal-quantum", "measured", 2, temperature=300.0))
    return out


def test_a_second_call_continues_and_packs(structures, tmp_path):
    engine = Toy()
    assert labels.run(structures[:2], engine, tmp_path / "w") == 0
    said: list[str] = []
    assert labels.run(structures, engine, tmp_path / "w", say=said.append) == 0
    assert engine.calls == 4
    assert "4/4 done" in said[-1]
    assert not list((tmp_path / "w").glob("*.lock"))
    packing.pack("copper", tmp_path / "a.h5", [tmp_path / "w"])
    data = datasets.read(tmp_path / "a.h5")
    (group,) = data.groups
    assert len(group) == 4
    assert data.levels == LEVELS
    assert set(group.seconds) == {0.5}
    assert group.mesh == (2, 2, 2, 0, 0, 0)
    structures[0].calc = EMT()
    row = group.fingerprint.index(labels.name_of(structures[0]))
    assert group.labels["emt"]["energy"][row] == pytest.approx(structures[0].get_potential_energy(), abs=1e-6)


def test_a_structure_may_say_its_split(structures, tmp_path):
    structures[1].info["split"] = "test"
    labels.run(structures[:2], Toy(), tmp_path / "w")
    packing.pack("copper", tmp_path / "a.h5", [tmp_path / "w"])
    (group,) = datasets.read(tmp_path / "a.h5").groups
    assert group.split[group.fingerprint.index(labels.name_of(structures[1]))] == "test"


def test_what_a_set_holds_is_not_labelled_again(structures, tmp_path):
    labels.run(structures[:3], Toy(), tmp_path / "w")
    packing.pack("copper", tmp_path / "a.h5", [tmp_path / "w"])
    assert [labels.name_of(a) for a in labels.unknown(structures, tmp_path / "a.h5")] == [labels.name_of(structures[3])]


def test_failures_are_recorded_skipped_and_never_packed(structures, tmp_path):
    engine = Toy(fail=1)
    assert labels.run(structures, engine, tmp_path / "w") == 1
    assert labels.run(structures, engine, tmp_path / "w") == 0
    assert engine.calls == 4, "a failure is not tried again unless asked"
    _, failures = packing.pack("copper", tmp_path / "a.h5", [tmp_path / "w"])
    assert len(failures) == 1
    assert "did not converge" in failures[0]
    assert len(datasets.read(tmp_path / "a.h5")) == 3
    assert labels.run(structures, engine, tmp_path / "w", retry=True) == 0
    assert not list((tmp_path / "w").glob("*.failed.json"))


def test_a_locked_configuration_is_left_to_its_owner(structures, tmp_path):
    import fcntl

    (tmp_path / "w").mkdir()
    with (tmp_path / "w" / f"{labels.name_of(structures[0])}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine = Toy()
        labels.run(structures, engine, tmp_path / "w")
    assert engine.calls == 3


def test_leftovers_of_a_kill_do_no_harm(structures, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / f".{labels.name_of(structures[0])}.npz.123.tmp").write_bytes(b"half a file")
    engine = Toy()
    labels.run(structures, engine, tmp_path / "w")
    assert engine.calls == 4
    assert len(packing.collect("copper", [tmp_path / "w"])[0]) == 4


def test_packing_refuses_a_truncated_label_mixed_levels_and_no_folder(structures, tmp_path):
    labels.run(structures, Toy(), tmp_path / "w")
    file = tmp_path / "w" / f"{labels.name_of(structures[2])}.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=file.name):
        packing.pack("copper", tmp_path / "a.h5", [tmp_path / "w"])
    assert not (tmp_path / "a.h5").exists()
    other = Toy()
    other.levels = {"emt": {"code": "ASE EMT", "version": "2", "settings": {}}}
    file.unlink()
    labels.run(structures, other, tmp_path / "w")
    with pytest.raises(InputError, match="two levels of theory under the name 'emt'"):
        packing.pack("copper", tmp_path / "a.h5", [tmp_path / "w"])
    with pytest.raises(InputError, match="no work folder"):
        packing.pack("copper", tmp_path / "a.h5", [tmp_path / "v"])


def test_missing_pw_x_says_how_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"apt-get install .*quantum-espresso"):
        Espresso(**RECIPES["silicon-pbe"][1])


@pytest.fixture
def espresso(tmp_path, monkeypatch) -> Espresso:
    program = tmp_path / "pw.x"
    program.write_text("#!/bin/sh\necho '     Program PWSCF v.6.7MaX starts'\necho '     Error in routine x (1):'\n"
                       "echo '     no such thing'\n")  # fmt: skip
    program.chmod(0o755)
    (tmp_path / "Si.pbe-rrkj.UPF").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Espresso(**RECIPES["silicon-hse06"][1], pseudo_dir=str(tmp_path))


def test_espresso_refuses_by_name_and_reports_a_stop(espresso):
    assert espresso.levels["hse06"]["version"] == "6.7MaX"
    silicon = annotate(bulk("Si", cubic=True), "unstrained", "measured", 2)
    refused.what_the_recipe_lacks(espresso, silicon, "pseudopotential")
    with pytest.raises(engines.LabelFailure, match="no such thing"):
        espresso.label(silicon)


def test_espresso_input_holds_the_recipe(espresso):
    silicon = annotate(bulk("Si", cubic=True), "unstrained", "measured", 2, (0.5, 0.5, 0.5))
    text = espresso._input(silicon, engines.Mesh.of(silicon), "hse06", 20)
    for entry in ("input_dft='hse'", "nqx1=2, nqx2=2, nqx3=2", "x_gamma_extrapolation=.true.", "ecutfock=25.0",
                  "exxdiv_treatment='gygi-baldereschi'", "nosym=.true.", "nbnd=20", "conv_thr=1.0e-07",
                  "2 2 2 1 1 1"):  # fmt: skip
        assert entry in text
    assert "input_dft" not in espresso._input(silicon, engines.Mesh.of(silicon), "pbe", 20)


def test_truncated_espresso_output_is_a_failure(tmp_path):
    (tmp_path / "x.xml").write_text("<espresso><output><total_energy><etot>-1.0</etot>")
    with pytest.raises(engines.LabelFailure, match=r"x\.xml cannot be read"):
        read_xml(tmp_path / "x.xml", bulk("Si"))


def test_bad_structure_files_are_refused(espresso, tmp_path):
    (tmp_path / "bad.xyz").write_text("2\nnothing\nSi 0 0")
    with pytest.raises(InputError, match=r"bad\.xyz cannot be read"):
        sets.read(tmp_path / "bad.xyz")
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(InputError, match="holds no structure"):
        sets.read(tmp_path / "empty.xyz")
    with pytest.raises(InputError, match="there is no file"):
        sets.read(tmp_path / "none.xyz")
    sets.write([annotate(bulk("Ge"), "x", "y", 2)], tmp_path / "ge.xyz")
    with pytest.raises(InputError, match=r"structure 0 of ge\.xyz: no pseudopotential for Ge"):
        labels.refuse(sets.read(tmp_path / "ge.xyz"), espresso, "ge.xyz")


class Interrupting(Toy):
    """Interrupted at its second structure, as by Ctrl-C."""

    def label(self, atoms):
        if self.calls == 1:
            raise KeyboardInterrupt
        return super().label(atoms)


def test_what_is_interrupted_has_not_failed_and_what_was_finished_is_kept(structures, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        labels.run(structures, Interrupting(), tmp_path / "w")
    assert len(list((tmp_path / "w").glob("*.npz"))) == 1
    assert not list((tmp_path / "w").glob("*.failed.json"))
    engine = Toy()
    assert labels.run(structures, engine, tmp_path / "w") == 0
    assert engine.calls == 3


def test_import_refuses_incomplete_files(tmp_path):
    np.savez(tmp_path / "a.npz", T=np.zeros(1), pos=np.zeros((1, 8, 3)))
    with pytest.raises(InputError, match=r"a\.npz lacks cell"):
        list(imported.records(tmp_path / "a.npz"))
