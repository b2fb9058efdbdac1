"""What a program compiles: how many programs, for how long, and which lines of jaxepi ask for the longest.

    python scripts/compilations.py [--longest 8] [--folder FOLDER] [WORD ...]

Runs a command of jaxepi in an empty folder (`absorb silicon --temperatures 300`, for example), or without words the first
Python block of the README, twice in this process, and prints a row for each time: wall seconds, processor seconds, programs
that XLA compiled, and the seconds of compiling them (processor time where the machine is busy is the figure to compare). The
second time everything is compiled. With --folder, compiled programs are kept there (`jaxepi.keep_compiled`): the first call
with a new folder is cold, the next is warm.

Another checkout: PYTHONPATH=CHECKOUT python scripts/compilations.py ..., with this script and this README.
"""

import argparse
import contextlib
import io
import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
COMPILED = "/jax/core/compile/backend_compile_duration"


def asked_by() -> str:
    """The lines of jaxepi that led to a compilation, innermost first."""
    files = ((Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_stack(None))
    own = [f"{file.parent.name}/{file.name}:{line}" for file, line in files if "jaxepi" in file.parts[-4:-1]]
    return " < ".join(own[:2])


def work(words: list[str]) -> None:
    """The command, or the block of the README, whose output is not for this table."""
    with contextlib.redirect_stdout(io.StringIO()):
        if not words:
            block = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
            assert block
            exec(compile(block[1], str(README), "exec"), {})
            return
        from jaxepi import cli

        status = cli.main([*words, "--overwrite", "--no-progress"])
        if status:
            raise SystemExit(status)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=8)
    parser.add_argument("--folder", type=Path)
    options, words = parser.parse_known_args()
    begun = time.perf_counter(), time.process_time()
    if options.folder:
        import jaxepi

        jaxepi.keep_compiled(options.folder.resolve())
    import jax

    found: list[tuple[float, str, str]] = []

    def heard(event: str, seconds: float, **details: str) -> None:
        if event == COMPILED:
            found.append((seconds, details.get("fun_name", ""), asked_by()))

    jax.monitoring.register_event_duration_secs_listener(heard)
    print(f"load {os.getloadavg()[0]:.1f}, jax {jax.__version__}, {' '.join(words) or 'ten lines of the README'}\n")
    print("| time | wall, s | processor, s | programs compiled | compiling, s |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in ("first", "second"):
            before = len(found)
            work(words)
            now, one = (time.perf_counter(), time.process_time()), found[before:]
            wall, processor = (b - a for a, b in zip(begun, now, strict=True))
            compiling = sum(seconds for seconds, *_ in one)
            print(f"| {name} | {wall:.1f} | {processor:.1f} | {len(one)} | {compiling:.1f} |", flush=True)
            begun = now
    print()
    for seconds, program, lines in sorted(found, reverse=True)[: options.longest]:
        print(f"{seconds:6.2f} s  {program}  {lines}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
