"""Files: written whole or not at all, by one process at a time, and never over what somebody else made."""

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from jaxepi import signals
from jaxepi.errors import InputError

RESULTS = (".h5", ".hdf5")
FRAMES = (".xyz", ".extxyz")
FIGURES = (".png", ".pdf", ".svg")
"""Suffixes of what is written."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ENDS = 1 << 18
"""Bytes at either end of a file in which its mark is looked for."""


@contextmanager
def whole(target: str | os.PathLike, temporary: str | os.PathLike | None = None) -> Iterator[Path]:
    """A path to write to, which becomes `target` when the block ends well, and is removed when it does not.

    A signal waits until the block has ended.

    Args:
        temporary: where to write meanwhile, on the same file system; hidden beside the target when left out.

    Raises:
        OSError: a full disk is named as such, whichever library met it.
    """
    target = Path(target)
    path = Path(temporary or _hidden(target))
    with signals.postponed():
        try:
            yield path
            with path.open("rb") as finished:
                os.fsync(finished.fileno())
            path.replace(target)
        except (OSError, RuntimeError, ValueError) as error:
            full = _full(error)
            if full:
                raise OSError(full, os.strerror(full), str(target)) from error
            raise
        finally:
            path.unlink(missing_ok=True)


def _hidden(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def _full(error: BaseException | None) -> int:
    """The number of the error that says a disk is full, anywhere in a chain of errors (HDF5's name it in their text)."""
    while error is not None:
        for number in _FULL:
            if (isinstance(error, OSError) and error.errno == number) or f"errno = {number}," in str(error):
                return number
        error = error.__cause__ or error.__context__
    return 0


@contextmanager
def locked(folder: Path, what: Path) -> Iterator[None]:
    """Make a folder (its parent must be there) and hold it alone; it goes again when nothing else is in it at the end.

    The lock goes with the process, however that ends; a file of it that was left behind is harmless.

    Args:
        what: is being made in the folder, for the message.

    Raises:
        InputError: another process holds it.
    """
    path = folder / "lock"
    held = _lock(path, what)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(held)
        with suppress(OSError):
            folder.rmdir()


def _lock(path: Path, what: Path) -> int:
    while True:
        path.parent.mkdir(exist_ok=True)
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            continue  # the folder went just now
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(number, 100, 0).decode(errors="replace").strip()
            os.close(number)
            raise InputError(
                f"{what} is being made by another run ({other or 'just begun'}); wait until it has ended, or give another "
                "--output"
            ) from None
        except OSError:
            return number  # a file system without locks
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(number), path.stat()):
                os.ftruncate(number, 0)
                os.pwrite(number, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
                return number
        os.close(number)  # its file went with the run before


class Output(NamedTuple):
    """A file that a command is going to write.

    Attributes:
        option: of the command line, that gives another path. suffixes: it may have; any when left out.
        own: known to be of this very run, so that it may be replaced; otherwise the mark in the file decides.
    """

    option: str
    path: Path
    suffixes: tuple[str, ...] = ()
    own: bool = False


def mark(command: str, settings: Mapping[str, Any]) -> str:
    """What the files of a command carry: its name, and a hash of its settings (JSON types)."""
    import hashlib  # needed by no command that only prints

    text = json.dumps({"command": command, **settings}, sort_keys=True, default=str)
    return f"jaxepi {command} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def claim(
    outputs: Iterable[Output], made_by: str = "", overwrite: bool = False, inputs: Iterable[str | os.PathLike] = ()
) -> None:
    """Try, before any work, whether all outputs can be written, and refuse to write over what others made.

    Args:
        made_by: `mark` of this command; files that carry it are its own. overwrite: replace others' files, too.
        inputs: what is read and must not be replaced; names that are no files are passed over.

    Raises:
        InputError: names the file, its option and the remedy.
    """
    seen: dict[Path, str] = {}
    read = {Path(name).resolve() for name in inputs if _is_file(Path(name))}
    for output in outputs:
        option, path = output.option, output.path
        place = _tried(output)
        twin = next((o for p, o in seen.items() if p == place or _same(p, place)), None)
        if twin:
            raise InputError(f"{twin} and {option} are one file, {path}; give {option} another path")
        if place in read:
            raise InputError(f"{path} is read by this command; give another {option}")
        seen[place] = option
        if path.exists() and not (overwrite or output.own or _carries(path, made_by)):
            raise InputError(
                f"{path} was not made by this command with these settings; give another {option}, move the file away, or "
                "pass --overwrite to replace it"
            )


def _tried(output: Output) -> Path:
    """The place of a path that can be written: its suffix, its folder, what is there, and a file beside it as a trial."""
    option, path = output.option, output.path
    if output.suffixes and path.suffix not in output.suffixes:
        raise InputError(f"{path}: give {option} a file name that ends in one of {', '.join(output.suffixes)}")
    try:
        if not path.parent.is_dir():
            raise InputError(f"{path.parent} is not a folder; make it, or give another {option}")
        if path.is_dir():
            raise InputError(f"{path} is a folder; give {option} the name of a file")
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} is no ordinary file; give another {option}")
        trial = _hidden(path)
        trial.touch()
        trial.unlink()
        return path.resolve()
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        name = str(path) if len(str(path)) < 200 else f"{str(path)[:80]}..."
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{name} cannot be written ({reason}); give another {option}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _same(one: Path, other: Path) -> bool:
    """Whether two names are links to one file."""
    return one.exists() and other.exists() and one.samefile(other)


def _carries(path: Path, made_by: str) -> bool:
    """Whether a file has the mark near its beginning or its end."""
    if not made_by:
        return False
    with path.open("rb") as file:
        head = file.read(_ENDS)
        file.seek(max(len(head), path.stat().st_size - _ENDS))
        return made_by.encode() in head or made_by.encode() in file.read()
