"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(target: str | os.PathLike, temporary: str | os.PathLike | None = None) -> Iterator[Path]:
    """A path to write to, which becomes `target` when the block ends well, and is removed when it does not.

    Args:
        temporary: where to write meanwhile, on the same file system; hidden beside the target when left out.
    """
    target = Path(target)
    path = Path(temporary or target.with_name(f".{target.name}.{os.getpid()}.tmp"))
    try:
        yield path
        with path.open("rb") as finished:
            os.fsync(finished.fileno())
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)
