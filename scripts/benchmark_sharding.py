"""The same snapshots over 1, 2, 4 and 8 devices of this CPU, and one study by one process and by two.

    python scripts/benchmark_sharding.py --supercell 2 --snapshots 8

Each number of devices is a process of its own. Seconds are of the second call; the difference is the largest of any bin or
eigenvalue from one device, relative; collective operations are counted in the compiled program. A CPU has the cores it has:
what is seen is that devices cost nothing and harm nothing, not that they make it faster.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLLECTIVE = r"all-gather|all-reduce|all-to-all|collective|reduce-scatter"


def devices(count: int, supercell: int, snapshots: int, folder: Path) -> None:
    """Seconds, difference and collectives with some devices; in a process of its own."""
    import jax
    import numpy as np

    jax.config.update("jax_enable_x64", True)
    import jaxepi as je

    silicon = je.materials.load("silicon")
    structure = silicon.structure.supercell(supercell)
    drawn = je.sampling.harmonic(silicon.potential, structure, temperature=300.0, count=snapshots, key=0)
    graph, points = silicon.hamiltonian.graph(structure), (je.kpoints.mesh(1),) * snapshots
    mesh = je.machines.Devices(count).mesh()
    for _ in range(2):
        started, busy = time.perf_counter(), time.process_time()
        found = je.optics.spread_transitions(silicon.hamiltonian, drawn, points, mesh, graph=graph)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    arrays = [np.stack([np.asarray(getattr(t, n)[0]) for t in found.transitions]) for n in ("histogram", "eigenvalues")]
    if count == 1:
        np.savez(folder / "one.npz", *arrays)
    one = np.load(folder / "one.npz").values()
    away = max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(arrays, one, strict=True))
    texts = [file.read_text() for file in (folder / f"text-{count}").glob("*spread*after_optimizations.txt")]
    assert texts
    collectives = sum(len(re.findall(COLLECTIVE, text)) for text in texts)
    print(f"{count:7d}  {seconds:7.2f}  {busy:17.2f}  {away:10.1e}  {collectives:11d}", flush=True)


def studies(folder: Path) -> None:
    """One study by one process, and by two that share it out."""
    import numpy as np

    from jaxepi.workflows.absorption import load

    command = [sys.executable, "-m", "jaxepi", "absorb", "silicon", "--cell", "primitive", "--supercell", "2"]
    command += ["--snapshots", "8", "--twists", "4", "--temperatures", "300", "600", "--equilibrium-points", "100"]
    command += ["--workers", "1", "--no-progress", "--output"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for count in (1, 2):
        started = time.perf_counter()
        output = str(folder / f"{count}.h5")
        shared = [["--distributed", f"127.0.0.1:{port}", "--processes", "2", "--process", str(i)] for i in range(2)]
        each = [
            subprocess.Popen([*command, output, *more], stdout=subprocess.DEVNULL)
            for more in (shared if count == 2 else [[]])
        ]
        assert [one.wait() for one in each] == [0] * count
        print(
            f"{count} process{'es' if count > 1 else ''}: {time.perf_counter() - started:.1f} s with start and compilation",
            flush=True,
        )
    one, two = (load(folder / f"{count}.h5") for count in (1, 2))
    pairs = [(a.eps2, b.eps2) for a, b in zip(one.spectra, two.spectra, strict=True)] + [(one.gaps, two.gaps)]
    print(
        f"largest difference of eps2 and gaps: {max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs):.1e}"
    )


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--supercell", type=int, default=2)
    parser.add_argument("--snapshots", type=int, default=8)
    parser.add_argument("--only-devices", action="store_true", help="leave the studies out")
    parser.add_argument("--devices", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.devices:
        devices(asked.devices, asked.supercell, asked.snapshots, asked.folder)
        return 0
    cores = len(os.sched_getaffinity(0))
    print(
        f"{asked.snapshots} snapshots of {8 * asked.supercell**3} atoms of silicon, Gamma, on {cores} cores", flush=True
    )
    print("devices  seconds  processor seconds  difference  collectives", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for count in (1, 2, 4, 8):
            flags = f"--xla_force_host_platform_device_count={count} --xla_dump_to={name}/text-{count}"
            flags += " --xla_dump_hlo_module_re=.*spread.*"
            own = ["--devices", str(count), "--folder", name]
            command = [sys.executable, __file__, *own, "--supercell", str(asked.supercell)]
            environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
            subprocess.run([*command, "--snapshots", str(asked.snapshots)], env=environment, check=True)
        if not asked.only_devices:
            studies(Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
