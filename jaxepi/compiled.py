"""Compiled programs kept on disk, for later processes: offered, and off unless it is asked for.

JAX's own cache keeps them; here it gets a folder in which processes cannot harm one another. Each reads and writes in a place
of its own, to which the programs that are kept are linked; when it ends, its new ones are linked into the common folder, each
whole and at once. What a process was writing when it was killed never gets there.
"""

import atexit
import fcntl
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from jaxepi.errors import InputError
from jaxepi.files import whole

WORTH_KEEPING = 0.1
"""Seconds of compilation from which a program is kept."""

_ENTRY, _PLACE, _LOCK = "*-cache", "process-", "lock"


def keep_compiled(folder: str | os.PathLike | None = None) -> Path:
    """Keep what JAX compiles from here on in a folder, and take from there what was compiled before.

    Several processes may use one folder at a time. It holds a folder for each version of JAX and kind of processor, since
    machine code runs on no other, and may be deleted whenever no process uses it.

    XLA calls processors foreign that are not, in a long line of stderr for each program that it loads (jax issue 38445).
    Called before `import jax`, this function silences XLA's log, whose errors reach Python as exceptions all the same; another
    `TF_CPP_MIN_LOG_LEVEL` than JAX's own stays as it is.

    Args:
        folder: made where it is missing; `jaxepi` in $XDG_CACHE_HOME or ~/.cache when left out. Nobody else may write to
            it: programs that are found there are run.

    Returns:
        The folder of this version and processor.

    Raises:
        InputError: a folder that cannot be made or written to, or that others may write to.
    """
    if "jaxlib" not in sys.modules and os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":  # 1 is what JAX sets itself
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxepi"
    top = Path(folder) if folder is not None else home
    common = top.absolute() / f"jax-{version('jax')}-{version('jaxlib')}-{platform.machine()}-{_processor()}"
    try:
        common.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (top, common):
            _refuse_others(path)
        place, lock = _place(common)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{top} cannot keep compiled programs ({reason}); give another folder") from error
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update(
        "jax_persistent_cache_enable_xla_caches", "none"
    )  # paths of these would be part of what is looked for
    compilation_cache.reset_cache()  # JAX asks once whether there is a folder, at its first compilation
    atexit.register(_share, place, common, os.getpid(), lock)
    return common


def _processor() -> str:
    """A name of what instructions the processor has."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return hashlib.sha256(" ".join(sorted(line.split())).encode()).hexdigest()[:8]
    return hashlib.sha256(platform.processor().encode()).hexdigest()[:8]


def _refuse_others(folder: Path) -> None:
    """Refuse a folder into which others could put programs for this process to run."""
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o002:
        raise InputError(
            f"{folder}: others may write there, and compiled programs that are found there are run; give a folder of your own "
            "(chmod o-w)"
        )


def _place(common: Path) -> tuple[Path, int]:
    """A place of this process, with what is kept so far, and the lock that says it is in use; those of killed ones go."""
    for other in common.glob(f"{_PLACE}*"):
        _remove_abandoned(other)
    made = Path(tempfile.mkdtemp(prefix=f".{_PLACE}", dir=common))
    lock = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    place = made.rename(made.with_name(made.name.removeprefix(".")))  # seen by others from here on
    for entry in common.glob(_ENTRY):
        _link(entry, place / entry.name)
    return place, lock


def _remove_abandoned(place: Path) -> None:
    """Remove the place of a process that has ended without doing so."""
    with suppress(OSError):
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place, ignore_errors=True)
        finally:
            os.close(lock)


def _share(place: Path, common: Path, process: int, lock: int) -> None:
    """Put the new programs of a process that ends into the common folder, and remove its place."""
    if os.getpid() != process:
        return  # a fork of it
    for entry in place.glob(_ENTRY):
        with suppress(OSError):
            _link(entry, common / entry.name)
    shutil.rmtree(place, ignore_errors=True)
    os.close(lock)


def _link(source: Path, target: Path) -> None:
    """The same file by another name, or a copy where the file system has no links; one that is there stays."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:
        with whole(target) as temporary:
            shutil.copyfile(source, temporary)
