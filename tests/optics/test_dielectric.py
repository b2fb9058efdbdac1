"""The dielectric kernel on crystals: supercells, sum rules, symmetry, scissor, graphene's universal conductivity."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import electrons, hamiltonians, materials, units
from jaxepi.errors import InputError
from jaxepi.hamiltonians import hamiltonian_gradient, hamiltonian_k
from jaxepi.hamiltonians.bloch import phases, signs
from jaxepi.kpoints import KPoints, mesh
from jaxepi.optics import EnergyGrid, Gaussian, Lorentzian, dielectric, transitions
from jaxepi.optics.momentum import momentum_operator, orthonormal
from jaxepi.optics.solvers.dense import batches
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import replace

ENERGIES = jnp.linspace(0.8, 6.0, 27)
WIDE = Gaussian(0.1)


def snapshots(structure, *displacements):
    moved = jnp.stack([structure.positions + u for u in displacements or (0.0,)])
    return Snapshots(structure, moved, jnp.asarray(0.0, moved.dtype))


def noise(n, seed=0, amplitude=0.05):
    return amplitude * np.random.default_rng(seed).normal(size=(n, 3))


@pytest.fixture(scope="module")
def silicon():
    return materials.load("silicon")


@pytest.fixture(scope="module")
def arsenide():
    return materials.load("galliumarsenide")


@pytest.fixture(scope="module")
def coarse(silicon):
    """Silicon's transitions on the mesh that a 16-atom supercell folds to Gamma."""
    return transitions(silicon.hamiltonian, snapshots(silicon.primitive), kmesh=2)


@pytest.mark.slow
def test_a_supercell_at_gamma_is_the_primitive_cell_on_the_folded_mesh(silicon, coarse):
    big = transitions(silicon.hamiltonian, snapshots(silicon.primitive.supercell(2)))
    a, b = (t.spectrum(ENERGIES, WIDE) for t in (big, coarse))
    np.testing.assert_allclose(a.eps2, b.eps2, atol=1e-6 * float(jnp.abs(b.eps2).max()))
    np.testing.assert_allclose(a.eps1, b.eps1, atol=1e-6 * float(jnp.abs(b.eps1).max()))
    np.testing.assert_allclose(a.absorption(), b.absorption(), atol=1e-6 * float(b.absorption().max()))
    np.testing.assert_allclose(big.plasma, coarse.plasma, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "eps1"), [("silicon", 10.1), ("galliumarsenide", 11.3)])
def test_static_dielectric_constants(name, eps1):
    material = materials.load(name)
    still = snapshots(material.primitive)
    found = transitions(material.hamiltonian, still, mesh(6, (0.5, 0.5, 0.5)), tensor=False).static_eps1()
    np.testing.assert_allclose(found, eps1, rtol=0.05)


@pytest.mark.slow
def test_sum_rules_equal_integrals_of_the_spectrum(coarse):
    energies = jnp.arange(0.02, 60.0, 0.04)
    spectrum = coarse.spectrum(energies, Gaussian(0.1))
    eps1, eps2 = spectrum.isotropic()
    integral = (energies * eps2[0]).sum() * 0.04
    np.testing.assert_allclose(coarse.f_sum()[0], integral / (np.pi / 2 * coarse.plasma), rtol=1e-4)
    # Broadening moves weight within its width: second order in width/gap.
    np.testing.assert_allclose(coarse.static_eps1()[0], 1 + 2 / np.pi * (eps2[0] / energies).sum() * 0.04, rtol=5e-3)
    np.testing.assert_allclose(coarse.static_eps1()[0], eps1[0, 0], rtol=5e-3)
    electrons_in_volume = 8 / (5.431**3 / 4)
    expected = 4 * np.pi * units.COULOMB * units.HBAR2_PER_ELECTRON_MASS * electrons_in_volume
    np.testing.assert_allclose(coarse.plasma, expected, rtol=1e-12)
    np.testing.assert_allclose(np.sqrt(expected), 16.6, atol=0.05)


def test_crystals_of_the_cube_are_isotropic(coarse):
    eps2 = coarse.spectrum(ENERGIES, WIDE).eps2[0]
    scale = float(eps2.max())
    np.testing.assert_allclose(eps2, eps2[:, :1, :1] * np.eye(3)[None], atol=1e-9 * scale)


@pytest.mark.slow
def test_the_isotropic_mean_alone_is_the_trace(silicon, coarse):
    mean = transitions(silicon.hamiltonian, snapshots(silicon.primitive), kmesh=2, tensor=False)
    a, b = (t.spectrum(ENERGIES, WIDE).mean() for t in (mean, coarse))
    np.testing.assert_allclose(a, b, rtol=1e-10)


def test_lines_of_both_signs_make_eps2_odd(coarse):
    """The antiresonant term makes eps2 vanish at zero energy, for Lorentzians too."""
    eps2 = coarse.spectrum(jnp.array([1e-6, 1e-3]), Lorentzian(0.05)).mean()[1]
    np.testing.assert_allclose(eps2[0] / 1e-6, eps2[1] / 1e-3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["si-niquet2009", "gaas-boykin2002", "si-nrl1999"])
def test_the_velocity_of_the_kernel_is_the_derivative_of_the_hamiltonian(name):
    hamiltonian = hamiltonians.load(name)
    cell = materials.load("galliumarsenide" if name.startswith("gaas") else "silicon").primitive
    graph = hamiltonian.graph(cell)
    moved = cell.with_positions(cell.positions + noise(2))
    k = jnp.array([0.2, -0.1, 0.35])
    q = k @ moved.reciprocal
    blocks, vectors = hamiltonian.blocks(moved, graph), graph.vectors(moved)
    dh, ds = hamiltonian_gradient(hamiltonian, moved, graph, k)
    h, s = hamiltonian_k(hamiltonian, moved, graph, k)
    if s is None:
        w = momentum_operator(blocks, graph, vectors, phases(vectors, q)).apply(jnp.eye(len(h), dtype=h.dtype))
        np.testing.assert_allclose(1j * w, dh, atol=1e-11)
        return
    # Non-orthogonal: <m| dH - (E_m + E_n)/2 dS |n> between generalised eigenvectors; the diagonal is dE/dk.
    import scipy.linalg

    e, c = scipy.linalg.eigh(h, s)
    expected = np.einsum("nm,ano,ol->aml", c.conj(), dh, c)
    expected -= 0.5 * (e[:, None] + e[None, :]) * np.einsum("nm,ano,ol->aml", c.conj(), ds, c)
    h_orthonormal, w = orthonormal(blocks, graph, vectors, q)
    e2, u = np.linalg.eigh(h_orthonormal)
    np.testing.assert_allclose(e2, e, atol=1e-9)
    got = np.einsum("nm,ano,ol->aml", u.conj(), 1j * w.blocks, u)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-8)
    step = 1e-4
    for a in range(3):
        dk = step * np.linalg.inv(moved.reciprocal)[a]
        points = np.stack([k + dk, k - dk])
        up, down = electrons.eigenvalues(hamiltonian, moved, points, graph)
        np.testing.assert_allclose(np.diagonal(got[a]).real, (up - down) / (2 * step), atol=1e-5)


@pytest.mark.slow
def test_real_and_complex_arithmetic_agree(silicon):
    """Time-reversal invariant points take the real path; the same points moved by a hair take the complex one."""
    still = snapshots(silicon.primitive, noise(2))
    points = mesh(2)
    hair = KPoints(points.points + 2e-9, points.weights)
    assert points.is_real
    assert not hair.is_real
    a, b = (transitions(silicon.hamiltonian, still, k) for k in (points, hair))
    np.testing.assert_allclose(a.eigenvalues, b.eigenvalues, atol=1e-7)
    x, y = (t.spectrum(ENERGIES, WIDE).eps2 for t in (a, b))
    np.testing.assert_allclose(x, y, atol=1e-6 * float(x.max()))
    graph = silicon.hamiltonian.graph(silicon.primitive)
    sign = signs(graph, jnp.array([0.5, 0, 0]), jnp.float64)
    assert set(np.unique(sign)) == {-1.0, 1.0}


@pytest.mark.slow
def test_merging_time_reversal_partners_changes_nothing(silicon):
    still = snapshots(silicon.primitive, noise(2))
    a, b = (
        transitions(silicon.hamiltonian, still, mesh(3, time_reversal=t)).spectrum(ENERGIES, WIDE)
        for t in (True, False)
    )
    np.testing.assert_allclose(a.eps2, b.eps2, atol=1e-10 * float(b.eps2.max()))


@pytest.mark.slow
def test_batches_and_the_order_of_snapshots_change_nothing(silicon):
    several = snapshots(silicon.primitive, noise(2, 1), noise(2, 2), noise(2, 3))
    single = snapshots(silicon.primitive, noise(2, 2))
    a, b = (transitions(silicon.hamiltonian, s, 3) for s in (several, single))
    np.testing.assert_allclose(a.histogram[1], b.histogram[0], atol=1e-9 * float(b.histogram.max()))
    small = transitions(silicon.hamiltonian, several, 3, memory_gb=2e-3)
    np.testing.assert_allclose(small.histogram, a.histogram, atol=1e-9 * float(a.histogram.max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["si-niquet2009", "gaas-jancu1998"])
def test_the_tensor_turns_with_the_crystal(name):
    hamiltonian = hamiltonians.load(name)
    cell = materials.load("silicon" if name.startswith("si") else "galliumarsenide").primitive
    rotation, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    rotation = jnp.asarray(rotation * np.linalg.det(rotation))
    turned = Structure(cell.positions @ rotation, cell.cell @ rotation, cell.species)
    u = noise(2, 3, 0.1)
    a = transitions(hamiltonian, snapshots(cell, u), 3).spectrum(ENERGIES, WIDE)
    b = transitions(hamiltonian, snapshots(turned, u @ rotation), 3).spectrum(ENERGIES, WIDE)
    for x, y in ((a.eps1, b.eps1), (a.eps2, b.eps2)):
        anisotropy = float(jnp.abs(x - x[..., ::-1, ::-1]).max())
        expected = jnp.einsum("ia,swij,jb->swab", rotation, x, rotation)
        np.testing.assert_allclose(y, expected, atol=1e-8 * float(jnp.abs(x).max()))
        assert anisotropy > 0.1  # the displaced crystal is not cubic, or the test would say nothing


@pytest.mark.slow
def test_a_scissor_keeps_dipoles_and_moves_energies(silicon, coarse):
    """r is kept: velocities scale by (E + D)/E, so that eps2 of p-gauge, |v|^2/(E + D)^2, is |r|^2 at E + D."""
    shift, width, k = 0.7, 0.1, np.array([[0.1, 0.2, -0.3]])
    still = snapshots(silicon.primitive)
    got = dielectric(silicon.hamiltonian, still, ENERGIES, KPoints(k, np.ones(1)), WIDE, shift, tensor=False)
    graph = silicon.hamiltonian.graph(silicon.primitive)
    h, _ = hamiltonian_k(silicon.hamiltonian, silicon.primitive, graph, jnp.asarray(k[0]))
    dh, _ = hamiltonian_gradient(silicon.hamiltonian, silicon.primitive, graph, jnp.asarray(k[0]))
    e, u = np.linalg.eigh(h)
    gap = e[4:, None] - e[None, :4]
    velocity = np.einsum("nc,anm,mv->acv", u[:, 4:].conj(), dh, u[:, :4]) * (gap + shift) / gap
    strength = (np.abs(velocity) ** 2).mean(axis=0) / (gap + shift) ** 2
    x = (np.asarray(ENERGIES)[:, None, None] - gap - shift) / width
    lines = np.exp(-(x**2) / 2) / (np.sqrt(2 * np.pi) * width)
    volume = float(silicon.primitive.volume)
    expected = 4 * np.pi**2 * units.COULOMB * 2 / volume * (strength * lines).sum(axis=(1, 2))
    np.testing.assert_allclose(got.mean()[1], expected, atol=1e-5 * expected.max())
    # The same spectrum, moved: and eps1 at zero falls as 1/(E + D).
    moved = coarse.spectrum(ENERGIES + shift, WIDE, scissor=shift).mean()[1]
    np.testing.assert_allclose(moved, coarse.spectrum(ENERGIES, WIDE).mean()[1], atol=1e-9 * float(moved.max()))
    assert float(coarse.static_eps1(shift)[0]) < float(coarse.static_eps1()[0])


@pytest.mark.slow
def test_spin_orbit_off_doubles_nothing(silicon):
    """A spinor basis without coupling gives the spectrum of the spinless one: spin is counted once."""
    spinor = materials.load("silicon", spin_orbit=True).hamiltonian
    off = replace(spinor, params={**spinor.params, "spin_orbit": 0 * spinor.params["spin_orbit"]})
    still = snapshots(silicon.primitive, noise(2))
    a, b = (transitions(h, still, 2).spectrum(ENERGIES, WIDE) for h in (silicon.hamiltonian, off))
    np.testing.assert_allclose(b.eps2, a.eps2, atol=1e-8 * float(a.eps2.max()))


@pytest.mark.slow
def test_graphene_conducts_one_quantum(graphene_conductivity):
    """sigma/(e^2/4 hbar) of the model, against the contour integral of its own two-band formula, and near one.

    Trigonal warping raises it by (hbar omega)^2/(9 t^2) for nearest neighbours (1.9% at 1.1 eV), and by 1.5 times as much
    with the further hoppings of this set: it is one within 2% up to 0.9 eV.
    """
    energies, measured, exact = graphene_conductivity
    np.testing.assert_allclose(measured, exact, rtol=3e-3)
    np.testing.assert_allclose(measured[energies < 0.9], 1.0, atol=0.02)
    np.testing.assert_allclose(exact[0] - 0.03 * energies[0] ** 2, 1.0, atol=2e-3)


@pytest.fixture(scope="module")
def graphene_conductivity():
    """Energies, and the conductivity of the kernel and of the contour integral in units of e^2/(4 hbar)."""
    material = materials.load("graphene")
    cell, reciprocal = material.primitive, np.asarray(material.primitive.reciprocal)
    corner = np.array([1 / 3, 1 / 3, 0]) @ reciprocal
    x, weight = np.polynomial.legendre.leggauss(160)
    radius, count = 0.15 * (x + 1), 24
    angle = 2 * np.pi * (np.arange(count) + 0.5) / count
    q = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
    area = abs(np.linalg.det(reciprocal[:2, :2]))
    weights = 2 * np.repeat(0.15 * weight * radius, count) * 2 * np.pi / count / area  # two corners of the zone
    share = weights.sum()  # of the zone
    disc = KPoints((corner + q.reshape(-1, 3)) @ np.linalg.inv(reciprocal), weights / share)
    energies, width = jnp.linspace(0.5, 1.5, 11), 0.025
    grid = EnergyGrid.covering(30.0, 0.004)
    found = dielectric(material.hamiltonian, snapshots(cell), energies, disc, Gaussian(width), grid=grid)
    eps2 = share * found.eps2[0]
    np.testing.assert_allclose(eps2[:, 0, 0], eps2[:, 1, 1], rtol=1e-6)
    # sigma = eps0 omega eps2 thickness; over e^2/(4 hbar) that is eps2 E thickness/(pi KE).
    measured = eps2[:, :2, :2].trace(axis1=1, axis2=2) / 2 * energies * cell.cell[2, 2] / (np.pi * units.COULOMB)
    return np.asarray(energies), np.asarray(measured), exact_conductivity(np.asarray(cell.cell), corner, energies)


def exact_conductivity(cell, corner, energies):
    """(4/pi) int d^2k |Im(f* grad f)|^2/(2 |f|^2 E) delta(E - 2|f|) for f(k) = sum_d t(d) exp(i k.d), by contours."""
    shifts = np.array([[i, j, 0] for i in range(-5, 6) for j in range(-5, 6)]) @ cell
    bond = np.array([cell[0, 0] / 2, cell[0, 0] / (2 * np.sqrt(3)), 0])
    d = (shifts + bond)[:, :2]
    r = np.linalg.norm(d, axis=1)
    d, r = d[r < 8], r[r < 8]
    t = -2.7 * np.exp(3.145 * (1 - r / 1.418)) / (1 + np.exp((r - 6.14) / 0.265))
    angle = 2 * np.pi * (np.arange(48) + 0.5) / 48
    u = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    out = []
    for energy in np.asarray(energies):
        low, high = np.zeros(48), np.full(48, 0.4)
        for _ in range(50):
            middle = 0.5 * (low + high)
            f = np.exp(1j * (corner[:2] + middle[:, None] * u) @ d.T) @ t
            low, high = np.where(2 * abs(f) < energy, middle, low), np.where(2 * abs(f) < energy, high, middle)
        wave = np.exp(1j * (corner[:2] + low[:, None] * u) @ d.T) * t
        f, gradient = wave.sum(axis=1), 1j * wave @ d
        between = np.imag(f.conj()[:, None] * gradient) / abs(f)[:, None]
        slope = 2 * np.real(f.conj() * (gradient * u).sum(axis=1)) / abs(f)
        out.append(4 / np.pi * np.mean(low * (between**2).sum(axis=1) / (2 * energy * slope)) * 2 * np.pi)
    return np.array(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["si-niquet2009", "si-nrl1999", "spinor"])
def test_single_precision_stays_single_and_agrees(name, silicon):
    hamiltonian = hamiltonians.load("si-niquet2009", True) if name == "spinor" else hamiltonians.load(name)
    cell = silicon.primitive
    single = cell.astype(jnp.float32)
    a = dielectric(hamiltonian, snapshots(single), ENERGIES.astype(jnp.float32), 2, WIDE)
    b = dielectric(hamiltonian, snapshots(cell), ENERGIES, 2, WIDE)
    assert a.eps1.dtype == a.eps2.dtype == a.absorption().dtype == jnp.float32
    np.testing.assert_allclose(a.eps2, b.eps2, atol=2e-4 * float(b.eps2.max()))
    np.testing.assert_allclose(a.eps1, b.eps1, atol=2e-4 * float(jnp.abs(b.eps1).max()))


def test_memory_is_bounded_or_refused():
    assert batches(20, 64, 4, False, 8.0) == (4, 64)
    assert batches(20, 10000, 4, False, 8.0, hoppings=15600) == (1, 250)  # 2.6 MB a point: far below 10000 points
    assert batches(5120, 1, 4, True, 8.0) == (1, 1)
    assert batches(234, 1, 40, False, 8.0, hoppings=173394, made=1.8e8) == (11, 1)  # 21 without what the model takes
    with pytest.raises(InputError, match=r"40960 orbitals needs about 134\.2 GB.*more than 8 GB; raise memory_gb"):
        batches(40960, 1, 1, True, 8.0)


@pytest.mark.parametrize(
    ("energies", "message"),
    [([0.0, 1.0], "photon energy 0 eV"), ([-1.5, 1.0], r"photon energy -1\.5 eV"), ([], "no photon energies")],
)
def test_bad_energies_are_refused(silicon, energies, message):
    with pytest.raises(InputError, match=message):
        dielectric(silicon.hamiltonian, snapshots(silicon.primitive), jnp.asarray(energies))
    with pytest.raises(InputError, match="photon energ"):
        dielectric(silicon.hamiltonian, snapshots(silicon.primitive), jnp.array([jnp.nan]))


def test_atoms_beyond_the_skin_bad_meshes_and_widths_are_refused(silicon):
    far = snapshots(silicon.primitive, np.array([[0, 0, 0], [2.0, 0, 0]]))
    with pytest.raises(InputError, match=r"moved by 1\.000 angstrom.*skin"):
        dielectric(silicon.hamiltonian, far, ENERGIES)
    with pytest.raises(InputError, match="k mesh 0"):
        dielectric(silicon.hamiltonian, snapshots(silicon.primitive), ENERGIES, 0)
    with pytest.raises(InputError, match=r"broadening of 0\.001 eV is finer"):
        dielectric(silicon.hamiltonian, snapshots(silicon.primitive), ENERGIES, 1, Gaussian(0.001))
    with pytest.raises(InputError, match="no Hamiltonian parameters for Ge"):
        dielectric(silicon.hamiltonian, snapshots(Structure.from_ase(bulk("Ge", a=5.66))), ENERGIES)


@pytest.mark.slow
def test_transitions_can_be_jitted_and_vmapped(silicon, coarse):
    graph = silicon.hamiltonian.graph(silicon.primitive)
    still = snapshots(silicon.primitive)

    def eps2(width, scale):
        cell = silicon.primitive.scaled(scale)
        return dielectric(
            silicon.hamiltonian, dataclasses.replace(still, structure=cell, positions=cell.positions[None]),
            ENERGIES, 2, Gaussian(width), tensor=False, graph=graph,
        ).mean()[1]  # fmt: skip

    many = jax.jit(jax.vmap(eps2))(jnp.array([0.1, 0.2]), jnp.array([1.0, 1.01]))
    np.testing.assert_allclose(many[0], coarse.spectrum(ENERGIES, WIDE).mean()[1], atol=1e-9 * float(many.max()))
    assert float(jnp.abs(many[1] - many[0]).max()) > 1.0


@pytest.mark.slow
def test_non_orthogonal_meshes_return_every_time(silicon):
    """Batched triangular solutions fused with Bloch sums hung JAX 0.10.1's CPU within a few calls: call it often."""
    hamiltonian = hamiltonians.load("si-nrl1999")
    still, graph = snapshots(silicon.primitive), hamiltonian.graph(silicon.primitive)
    first, *rest = (float(transitions(hamiltonian, still, 2, graph=graph).histogram.sum()) for _ in range(60))
    np.testing.assert_allclose(rest, first, rtol=1e-10)
