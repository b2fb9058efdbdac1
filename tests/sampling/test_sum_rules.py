"""Sum rules: kept by what a potential gives, broken by noise, mended by the least change; names of modes at Gamma."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import sampling
from jaxepi.sampling.force_constants import symmetric


def noisy(fc, size=0.05, seed=0):
    noise = jnp.asarray(np.random.default_rng(seed).normal(size=fc.matrix.shape))
    return dataclasses.replace(fc, matrix=symmetric(fc.matrix + size * noise, fc.supercell.repeats))


@pytest.mark.slow
def test_broken_rules_are_mended_by_the_least_change(spring_gaas):
    """Springs keep what translations ask for; forces across bonds break what rotations do."""
    central = sampling.sum_rules(spring_gaas)
    np.testing.assert_allclose(central.acoustic, 0, atol=1e-12)
    broken = noisy(spring_gaas)
    before = sampling.sum_rules(broken)
    mended = sampling.with_sum_rules(broken)
    after = sampling.sum_rules(mended)
    for was, now in zip(before, after, strict=True):
        assert was > 0.1
        assert now < 1e-10
    acoustic = np.asarray(sampling.frequencies_thz(mended, [[0, 0, 0]]))[0]
    np.testing.assert_allclose(np.sort(np.abs(acoustic))[:3], 0, atol=1e-5)
    # The nearest of all: nothing is changed twice, and the change is at right angles to what keeps the rules.
    change = np.asarray(mended.matrix - broken.matrix)
    np.testing.assert_allclose(sampling.with_sum_rules(mended).matrix, mended.matrix, atol=1e-12)
    kept = np.asarray(sampling.with_sum_rules(noisy(spring_gaas, seed=1)).matrix)
    np.testing.assert_allclose(np.vdot(change, kept), 0, atol=1e-9)
    alone = sampling.sum_rules(sampling.with_sum_rules(broken, rotational=False))
    assert alone.acoustic < 1e-10
    assert alone.rotational > 0.1


def test_modes_at_gamma_have_names(spring_gaas):
    pytest.importorskip("phonopy", reason="labels are phonopy's: pip install 'jaxepi[phonopy]'")
    acoustic, optical = sampling.gamma_modes(spring_gaas)
    assert (optical.label, optical.degeneracy, optical.infrared, optical.raman) == ("T2", 3, True, True)
    assert (acoustic.label, acoustic.degeneracy) == ("T2", 3)
    thz = np.asarray(sampling.frequencies_thz(spring_gaas, [[0, 0, 0]]))[0, -1]
    np.testing.assert_allclose(optical.frequency, thz, rtol=1e-6)  # phonopy's constants of nature are others
