"""The machines of a run: who is who under SLURM, and what is refused before anything is computed."""

import pytest

from jaxepi.errors import InputError
from jaxepi.machines import connect, helps, peers, slurm
from jaxepi.workflows.outputs import AbsorptionFiles, GapFiles


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n[007-012,20],gpu3", "n007"), ("gpu3", "gpu3"), ("a1,b2", "a1"), ("rack-2-n[4]", "rack-2-n4")],
)
def test_the_first_node_of_a_step_of_slurm_coordinates(nodes, first):
    variables = {
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_NUM_TASKS": "16",
        "SLURM_PROCID": "3",
        "SLURM_JOB_ID": "4097",
    }
    assert slurm(variables) == (f"{first}:61441", 16, 3)
    assert slurm({}) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("node1:1234", 2, None), "give all three"),
        (("node1", 2, 0), "coordinator 'node1': give the host of process 0 and a free port"),
        (("node1:1234", 2, 2), "process 2 of 2: give numbers from 0 to 1"),
    ],
)
def test_processes_that_cannot_be_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        connect(*given)
    assert peers() is None
    assert not helps()


@pytest.mark.parametrize("given", [{"distributed": "n:1"}, {"processes": 2}, {"distributed": True, "process": 0}])
def test_options_of_processes_go_together(given):
    with pytest.raises(InputError, match="give all three, or --distributed alone under a launcher"):
        GapFiles(**given)
    assert AbsorptionFiles(distributed="n:1", processes=2, process=1, devices=4).devices_per_snapshot == 1
