"""Phonons against phonopy, on phonopy files that this script makes itself.

    python scripts/check_phonons.py [--first | --thermodynamics]

Forces come from shipped potentials, displacements and force constants from phonopy; each row reads one of its formats. Needs
phonopy (pip install 'jaxepi[phonopy]'). Printed: the largest differences along a path (THz), and of mean square displacements
of the atoms at 300 K over the wave vectors that fit the supercell (relative). Then free energy, entropy, heat capacity, mean
squares, densities of states and group velocities of the same force constants on the same mesh (largest difference over the
largest value), finite displacements through ASE against differentiation, and gallium arsenide at Gamma.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ase import Atoms
from ase.build import bulk, graphene

jax.config.update("jax_enable_x64", True)

from jaxepi import potentials, sampling  # noqa: E402  (after the precision)
from jaxepi.sampling import ForceConstants, phonopy_files  # noqa: E402
from jaxepi.sampling.vibrations import FREE_THZ  # noqa: E402

AVOGADRO, ELEMENTARY = 6.02214076e23, 1.602176634e-19

CONVENTIONAL = [[-1, 1, 1], [1, -1, 1], [1, 1, -1]]
"""The cubic cell of a face-centred lattice, in its primitive vectors (columns, phonopy's way)."""

SKEWED = [[2, 1, 0], [0, 2, 1], [1, 0, 2]]
"""A supercell of nine cells that is no repeat along their vectors."""


class Case(NamedTuple):
    """A crystal, its potential, phonopy's supercell matrix, the format of the file, corners, and the charges of its atoms."""

    name: str
    atoms: Atoms
    potential: str
    matrix: Any
    form: str
    corners: list
    charges: tuple[float, ...] = ()


def cases() -> list[Case]:
    """What is compared: supercells that are not diagonal, and atoms in another order, among them."""
    cubic = [[0, 0, 0], [0.5, 0, 0.5], [0.625, 0.25, 0.625]], [[0.375, 0.375, 0.75], [0, 0, 0], [0.5, 0.5, 0.5]]
    corners = [*cubic[0], *cubic[1]]
    silicon, gaas = bulk("Si", a=5.431), bulk("GaAs", "zincblende", a=5.6532)
    turned = bulk("GaAs", "zincblende", a=5.6532, cubic=True)[[5, 2, 7, 0, 3, 6, 1, 4]]
    turned.translate([1.0, 2.0, 7.0])
    turned.wrap()
    sheet = graphene("C2", a=2.473, vacuum=6.0)
    sheet.pbc = True
    flat = [[0, 0, 0], [0.5, 0, 0], [1 / 3, 1 / 3, 0], [0, 0, 0]]
    born = (2.16, -2.16)
    return [
        Case("silicon, 2x2x2 of 8", bulk("Si", a=5.431, cubic=True), "silicon-mvff", 2, "params", corners),
        Case("silicon, conventional", silicon, "silicon-mvff", CONVENTIONAL, "FORCE_SETS", corners),
        Case("silicon, skewed", silicon, "silicon-mvff", SKEWED, "compact", corners),
        Case("GaAs, polar", gaas, "galliumarsenide-mvff", 2, "hdf5", corners, born),
        Case("GaAs, polar, skewed", gaas, "galliumarsenide-mvff", SKEWED, "full", corners, born),
        Case("GaAs, polar, other order", turned, "galliumarsenide-mvff", 1, "FORCE_SETS", corners, born),
        Case("graphene", sheet, "graphene-pbe-d3", [4, 4, 1], "params", flat),
    ]


def write(case: Case, folder: Path) -> Path:
    """Phonopy's files of a case; the one to read."""
    import phonopy
    from phonopy.file_IO import write_BORN, write_FORCE_CONSTANTS, write_force_constants_to_hdf5, write_FORCE_SETS

    atoms = phonopy.structure.atoms.PhonopyAtoms(
        symbols=case.atoms.get_chemical_symbols(), cell=case.atoms.cell.array, positions=case.atoms.positions
    )
    matrix = np.diag(np.broadcast_to(case.matrix, 3)) if np.ndim(case.matrix) < 2 else case.matrix
    made = phonopy.Phonopy(atoms, matrix, primitive_matrix="auto", log_level=0)
    made.generate_displacements(distance=0.01)
    made.forces = [forces(case, cell) for cell in made.supercells_with_displacements]
    made.save(folder / "phonopy.yaml", settings={"force_sets": False, "displacements": False})
    if case.charges:
        signs = np.array([case.charges[int(z != 31)] for z in made.primitive.numbers])
        write_BORN(made.primitive, signs[:, None, None] * np.eye(3), 10.9 * np.eye(3), folder / "BORN")
    if case.form == "params":
        made.save(folder / "phonopy_params.yaml")
        return folder / "phonopy_params.yaml"
    if case.form == "FORCE_SETS":
        write_FORCE_SETS(made.dataset, folder / "FORCE_SETS")
        return folder / "phonopy.yaml"
    made.produce_force_constants(calculate_full_force_constants=case.form == "full")
    made.symmetrize_force_constants()
    if case.form == "hdf5":
        target = folder / "force_constants.hdf5"
        write_force_constants_to_hdf5(made.force_constants, filename=target, p2s_map=made.primitive.p2s_map)
        return folder / "phonopy.yaml"
    write_FORCE_CONSTANTS(made.force_constants, folder / "FORCE_CONSTANTS", p2s_map=made.primitive.p2s_map)
    return folder / "FORCE_CONSTANTS"


def forces(case: Case, cell: Any) -> np.ndarray:
    """Forces of the potential on a displaced supercell of phonopy's, eV/angstrom."""
    atoms = Atoms(cell.symbols, cell=cell.cell, positions=cell.positions, pbc=True)
    atoms.calc = potentials.calculator(potentials.load(case.potential))
    return atoms.get_forces()


def theirs(path: Path, case: Case, qs: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Phonopy's frequencies (THz) at q along directions of approach, and its mean square displacements (angstrom^2)."""
    import phonopy

    folder, options = path.parent, {"is_nac": False, "log_level": 0}
    numbers = {"FORCE_SETS": "FORCE_SETS", "hdf5": "force_constants.hdf5"}.get(case.form, "FORCE_CONSTANTS")
    if case.form != "params":
        kind = "force_sets_filename" if case.form == "FORCE_SETS" else "force_constants_filename"
        options[kind] = folder / numbers
    described = path if case.form == "params" else folder / "phonopy.yaml"
    if case.charges:
        options["born_filename"] = folder / "BORN"
    found = phonopy.load(described, **options)
    rows = []
    for q, direction in zip(qs, directions, strict=True):
        found.run_qpoints([q], nac_q_direction=direction if case.charges else None)
        rows.append(found.qpoints.frequencies[0])
    found.init_random_displacements()
    found.random_displacements.run_correlation_matrix(300.0)
    uu = found.random_displacements.uu
    places = found.primitive.p2s_map
    return np.sort(rows, axis=1), np.array([np.diag(uu[n, n]) for n in places])


def along(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Points on a path, primitive fractional coordinates, and its directions."""
    points, directions = [], []
    for start, stop in zip(case.corners[:-1], case.corners[1:], strict=True):
        step = np.subtract(stop, start)
        points += [start + t * step for t in np.linspace(0, 1, 17)]
        directions += [step] * 17
    return np.array(points), np.array(directions)


def compare(case: Case, folder: Path) -> tuple[float, float, int]:
    """Largest difference of frequencies (THz) and relative one of displacements, and the atoms of the supercell."""
    path = write(case, folder)
    points, directions = along(case)
    expected, squares = theirs(path, case, points, directions)
    constants = ForceConstants.from_phonopy(path)
    lattice = phonopy_files.read(path).primitive
    own, ways = (sampling.in_base(constants, lattice, q) for q in (points, directions))
    found = np.asarray(sampling.frequencies_thz(constants, own, directions=ways))
    moved = np.asarray(sampling.mean_square_displacements(constants, 300.0))
    moved = np.einsum("naa->na", moved)
    return np.abs(found - expected).max(), np.abs(moved / squares - 1).max(), len(constants.supercell)


def main() -> None:
    """Print the table."""
    import argparse
    import warnings

    import phonopy

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", action="store_true", help="the first row alone")
    parser.add_argument("--thermodynamics", action="store_true", help="the second table alone")
    options = parser.parse_args()

    warnings.filterwarnings("ignore", message="primitive_matrix defaulted")
    print(f"against phonopy {phonopy.__version__}")
    if options.thermodynamics:
        print_thermodynamics()
        return
    print(f"{'crystal':26} {'atoms':>5} {'file':>12} {'THz':>9} {'<u^2>':>9}")
    for case in cases()[: 1 if options.first else None]:
        with tempfile.TemporaryDirectory() as folder:
            thz, squares, count = compare(case, Path(folder))
        print(f"{case.name:26} {count:5} {case.form:>12} {thz:9.1e} {squares:9.1e}", flush=True)
    if not options.first:
        print_thermodynamics()
        print_derivatives()
        print_gamma()


def print_thermodynamics() -> None:
    """Functions of temperature, densities of states and velocities, of the same force constants on the same mesh."""
    print(
        f"{'crystal':22} {'F':>9} {'S':>9} {'C_V':>9} {'<u^2>':>9} {'DOS':>9} {'of atoms':>9} {'smeared':>9} {'velocity':>9}"
    )
    for name, count in (("silicon", 4), ("galliumarsenide", 2)):
        row = " ".join(f"{value:9.1e}" for value in thermal(name, count))
        print(f"{name:22} {row}", flush=True)


def thermal(name: str, count: int, mesh: int = 8) -> list[float]:
    """Largest differences from phonopy over the largest values, for a material in so many primitive cells each way."""
    from jaxepi import materials

    material = materials.load(name)
    constants = sampling.force_constants(material.potential, material.primitive.supercell(count))
    constants = dataclasses.replace(constants, polar=material.polar)
    own = constants.to_phonopy()
    kelvins, counts = [50.0, 300.0, 900.0], [mesh] * 3
    own.run_mesh(counts, is_mesh_symmetry=False, is_gamma_center=False, with_eigenvectors=True)
    own.run_thermal_properties(temperatures=kelvins, cutoff_frequency=FREE_THZ)
    heat = own.thermal_properties
    found = sampling.thermodynamics(constants, kelvins, mesh)
    mole = 1e-3 * AVOGADRO * ELEMENTARY  # kJ/mol in one eV
    own.run_thermal_displacement_matrices(temperatures=kelvins, freq_min=FREE_THZ)
    squares = own.thermal_displacement_matrices.thermal_displacement_matrices
    pairs = [
        (mole * found.free_energy, heat.free_energy),
        (1e3 * mole * found.entropy, heat.entropy),
        (1e3 * mole * found.heat_capacity, heat.heat_capacity),
        (found.mean_squares, np.real(squares)),
    ]
    for width in (None, 0.2):
        options = {"sigma": width, "freq_min": 0.5, "freq_max": 16.0, "freq_pitch": 0.25}
        own.run_total_dos(use_tetrahedron_method=width is None, **options)
        own.run_projected_dos(use_tetrahedron_method=width is None, **options)
        density = sampling.density_of_states(constants, own.total_dos.frequency_points, mesh, width)
        pairs.append((density.total, own.total_dos.dos))
        pairs += [(density.projected, own.projected_dos.projected_dos)] if width is None else []
    generic = [[0.11, 0.23, -0.31], [0.05, 0.4, 0.17], [0.31, 0.12, 0.08]]
    own.run_qpoints(generic, with_group_velocities=True)
    velocities = 1e3 * np.asarray(sampling.group_velocities(constants, generic))  # THz angstrom
    pairs.append((velocities, own.qpoints.group_velocities))
    return [float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(b).max()) for a, b in pairs]


def print_derivatives() -> None:
    """Finite displacements through ASE against differentiation of the same potential."""
    from jaxepi.structure import Structure

    for name, atoms in (
        ("silicon-mvff", bulk("Si", a=5.431)),
        ("galliumarsenide-mvff", bulk("GaAs", "zincblende", a=5.6532)),
    ):
        potential, supercell = potentials.load(name), Structure.from_ase(atoms).supercell(2)
        exact = sampling.force_constants(potential, supercell)
        found = ForceConstants.from_ase(potentials.calculator(potential), supercell)
        points = exact.commensurate()[1:]
        away = np.abs(sampling.frequencies_thz(found, points) - sampling.frequencies_thz(exact, points)).max()
        print(f"{name}: displacements of 0.01 angstrom against differentiation, {away:.1e} THz")


def print_gamma() -> None:
    """Gallium arsenide at Gamma with the charges of its card, beside measurement."""
    from jaxepi import materials
    from jaxepi.materials import measured
    from jaxepi.workflows import phonons

    found = phonons.phonons(materials.load("galliumarsenide"), 2, "GX", 4)
    transverse, longitudinal = found.points["G"][3], found.points["G-X"][-1]
    print(f"galliumarsenide at Gamma: TO {transverse:.2f}, LO {longitudinal:.2f} THz")
    print(f"measured: {measured.phonons('galliumarsenide')}")


if __name__ == "__main__":
    main()
