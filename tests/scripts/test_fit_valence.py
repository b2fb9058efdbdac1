"""The shipped force fields of germanium and diamond are least squares of what was measured."""

import fit_valence
import numpy as np
import pytest

from jaxepi.potentials import parameter_files


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gamma"), [("germanium", 9.11), ("diamond", 39.93)])
def test_shipped_parameters_are_the_minimum(name, gamma):
    measured = fit_valence.MEASURED[name]
    shipped = parameter_files.shipped()[f"{name}-mvff"]["parameters"]
    parameters = np.array([shipped[n] for n in fit_valence.NAMES])

    def cost(at):
        return float(np.sum(fit_valence.residuals(measured, at) ** 2))

    least = cost(parameters)
    for i in range(5):
        for factor in (0.99, 1.01):
            assert cost(np.where(np.arange(5) == i, factor * parameters, parameters)) > least
    # Five numbers cannot fit all: Gamma to 3 percent.
    np.testing.assert_allclose(fit_valence.found(measured, parameters).frequencies["Gamma"], gamma, rtol=0.03)
