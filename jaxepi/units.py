"""Constants and conversions, in one place. Values from `ase.units` (CODATA 2014).

Public interfaces use eV, angstrom, atomic mass units, kelvin and femtoseconds.
"""

from ase import units as _ase

KB = _ase.kB
"""Boltzmann constant, eV/K."""

HBAR = _ase._hbar / _ase._e * 1e15
"""Reduced Planck constant, eV fs."""

AMU_ANGSTROM2_PER_FS2 = _ase._amu * 1e10 / _ase._e
"""One amu angstrom^2/fs^2 in eV (103.64)."""

COULOMB = _ase.Hartree * _ase.Bohr
"""e^2/(4 pi eps0), eV angstrom (14.3996)."""

HBAR2_PER_ELECTRON_MASS = _ase.Hartree * _ase.Bohr**2
"""hbar^2/m_e, eV angstrom^2 (7.61996)."""

HBAR_C = _ase._hbar * _ase._c / _ase._e * 1e10
"""hbar c, eV angstrom (1973.27)."""

HBAR_C_CM = HBAR_C * 1e-8
"""hbar c, eV cm."""

EV_PER_THZ = _ase._hplanck * 1e12 / _ase._e
"""h times one terahertz, eV (0.0041357)."""

NEWTON_PER_METRE = 1.0 / (_ase._e * 1e20)
"""One N/m in eV/angstrom^2 (1/16.0218)."""

GPA = _ase.GPa
"""One GPa in eV/angstrom^3 (for comparison with published elastic constants)."""

ANGSTROM_EV_TO_M_PER_S = 1e-10 / (_ase._hbar / _ase._e)
"""Velocity: dE/dk of one eV angstrom in m/s (1.519e5)."""


def thz_from_eigenvalue(eigenvalue):
    """Signed frequency in THz of an eigenvalue of the dynamical matrix in eV/(angstrom^2 amu).

    Imaginary frequencies come back negative, as phonopy prints them.
    """
    import jax.numpy as jnp

    scale = 1e3 / (2 * jnp.pi * AMU_ANGSTROM2_PER_FS2**0.5)
    return jnp.sign(eigenvalue) * jnp.sqrt(jnp.abs(eigenvalue)) * scale
