"""Packing: every configuration once, shapes that never change, little padding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxepi.training.packing import pack

sizes_and_widths = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 60)), min_size=1, max_size=60)


def packed(pairs, atoms=48, shapes=2):
    sizes, widths = (np.array(x) for x in zip(*pairs, strict=True))
    return pack(sizes, widths[:, None], atoms, shapes), sizes, widths


def members(plans):
    return np.concatenate([plan.configurations[plan.configurations >= 0] for plan in plans])


@settings(deadline=None, max_examples=60)
@given(sizes_and_widths, st.integers(0, 5))
def test_every_configuration_is_in_one_batch_with_room_for_it(pairs, epoch):
    packing, sizes, widths = packed(pairs)
    plans = packing.plans(np.arange(len(sizes)), (0, epoch))
    assert sorted(members(plans)) == list(range(len(sizes)))
    assert 1 <= len(packing.shapes) <= 2
    for plan in plans:
        shape = packing.shapes[int(packing.kind[plan.configurations[0]])]
        assert (len(plan.atoms), len(plan.configurations), plan.widths) == (
            shape.atoms,
            shape.configurations,
            shape.widths,
        )
        for slot, c in enumerate(plan.configurations[plan.configurations >= 0]):
            mine = np.flatnonzero((plan.slots == slot) & (plan.atoms >= 0))
            assert list(plan.atoms[mine]) == list(range(packing.first[c], packing.first[c + 1]))
            assert (plan.starts[mine] == mine[0]).all()
            assert widths[c] <= plan.widths[0]


def test_cells_of_8_16_and_64_atoms_fill_one_shape():
    packing, sizes, _ = packed([(8, 30)] * 80 + [(16, 30)] * 20 + [(64, 30)] * 5, atoms=64)
    assert [shape.atoms for shape in packing.shapes] == [64]
    plans = packing.plans(np.arange(len(sizes)), (3, 1))
    assert sum((plan.atoms >= 0).sum() for plan in plans) >= 0.97 * 64 * len(plans)


def test_a_second_shape_is_taken_where_it_saves_much_and_only_there():
    assert len(packed([(8, 30)] * 50 + [(8, 33)] * 50)[0].shapes) == 1
    wide = packed([(8, 20)] * 90 + [(8, 100)] * 10)[0]
    assert sorted(shape.widths for shape in wide.shapes) == [(20,), (100,)]
    assert len(packed([(8, 20)] * 90 + [(8, 100)] * 10, shapes=1)[0].shapes) == 1


def test_the_order_follows_from_seed_and_epoch():
    packing, sizes, _ = packed([(8, 30)] * 40)
    everyone = np.arange(len(sizes))
    first, again, other, seed = (members(packing.plans(everyone, s)) for s in ((0, 1), (0, 1), (0, 2), (1, 1)))
    assert (first == again).all()
    assert (first != other).any()
    assert (first != seed).any()
    assert (members(packing.plans(everyone)) == everyone).all()


@pytest.mark.parametrize("largest", [64, 500])
def test_one_configuration_that_is_larger_than_a_batch_still_fits(largest):
    packing, sizes, _ = packed([(8, 10)] * 10 + [(largest, 10)], atoms=16)
    assert sorted(members(packing.plans(np.arange(len(sizes))))) == list(range(11))
