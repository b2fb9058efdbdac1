"""The engine of all studies: items x observables, of which every finished one is kept, and a second call goes on from there.

Flows in: a path, where its result comes from (`results.provenance`), items by name, and a function from an item to its
observables (nested dicts of what the store holds). Flows out: the observables in the order of the items, each read from its
part where an earlier call finished it. One process at a time makes a result; a first SIGINT or SIGTERM lets what is being
computed finish, and the line that ends the program says what is kept.

    with Study.open(output, origin, resume=resume, unit="snapshot", total=len(items)) as study:
        if study.complete:
            return load(output)
        prepared = study.keep("prepared", prepare)
        parts = study.map(items, compute, workers)
        study.finish(contents(prepared, parts))
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from jaxepi import results, signals
from jaxepi.files import Output, claim, locked
from jaxepi.progress import progress_bar
from jaxepi.results import Run

Item = TypeVar("Item")
Contents = Mapping[str, Any]


@contextmanager
def alone(folder: Path, what: Path, kept: str, resume: bool = True) -> Iterator[None]:
    """Make `what` in a folder, as the only process that does; an interrupt says what is kept.

    Args:
        kept: what an interrupt leaves, in words. resume: whether this call went on from an earlier one.

    Raises:
        InputError: another process is at it. signals.Interrupted: a signal came.
    """
    again = "the same command goes on from there" + ("" if resume else " (without --overwrite)")
    with locked(folder, what), signals.noted(f"{kept}, and {again}"):
        try:
            yield
        except KeyboardInterrupt as stop:
            raise stop if isinstance(stop, signals.Interrupted) else signals.Interrupted() from None


class Study:
    """A result under construction; see `open`.

    Attributes:
        run: the parts in the store, or None for a study in memory. bar: what shows how far it is.
        unit: what an item is called.
    """

    def __init__(self, run: Run | None, bar: tqdm, unit: str) -> None:
        self.run, self.bar, self.unit = run, bar, unit

    @classmethod
    @contextmanager
    def open(
        cls,
        path: str | os.PathLike | None,
        origin: Mapping[str, Any],
        *,
        resume: bool = True,
        ignore: tuple[str, ...] = (),
        unit: str = "item",
        total: int = 0,
        progress: bool = False,
    ) -> "Iterator[Study]":
        """Begin a study, or go on with it.

        Args:
            path: HDF5 file of the result; `<path>.parts/` holds what is finished meanwhile. None keeps nothing.
            origin: `results.provenance(...)`. resume: False replaces what is there. ignore: settings that may differ from an
                earlier call's. unit: what an item is called. total: how many there are, for the bar. progress: show it.

        Raises:
            InputError: a path that cannot be written, another run that makes it, or a result of other settings or models.
            signals.Interrupted: a signal came; what is finished is kept.
        """
        with progress_bar(total=total, unit=unit, shown=progress and total > 0) as bar:
            if path is None:
                with signals.noted("nothing is kept without --output"):
                    yield cls(None, bar, unit)
                return
            target = Path(path)
            claim([Output("--output", target, own=True)])
            parts = results.parts_of(target)
            if resume and target.exists():
                yield cls(Run(target, origin, resume, ignore), bar, unit)
                return
            with alone(parts, target, f"finished {unit}s are kept in {parts}", resume):
                yield cls(Run(target, origin, resume, ignore), bar, unit)

    @property
    def origin(self) -> dict[str, Any]:
        """Where the result comes from."""
        return {} if self.run is None else self.run.origin

    @property
    def complete(self) -> bool:
        """Whether the result is there already."""
        return self.run is not None and self.run.complete

    def keep(self, name: str, compute: Callable[[], Contents]) -> dict[str, Any]:
        """One part of the study that belongs to no item: read where it is finished, computed and kept otherwise."""
        self.bar.set_description(name)
        return dict(compute()) if self.run is None else self.run.keep(name, compute)

    def map(
        self, items: Mapping[str, Item], compute: Callable[[Item], Contents], workers: int = 1
    ) -> list[dict[str, Any]]:
        """Observables of all items, in their order: the first alone, for it compiles, the others on some threads at once.

        LAPACK runs on one thread in each of several: items side by side use the cores better than its own threads do. An
        error or a signal lets what is being computed finish, starts nothing more, and is raised.

        Args:
            items: by the names of their parts.
        """
        run, bar = self.run, self.bar
        done = {name for name in items if run is not None and run.has(name)}
        bar.set_description(f"{self.unit}s")
        bar.initial = bar.n = len(done)
        bar.unpause()

        def part(name: str) -> dict[str, Any]:
            signals.check()
            found = dict(compute(items[name])) if run is None else run.keep(name, lambda: compute(items[name]))
            bar.update(int(name not in done))
            return found

        first, *others = items
        with signals.postponed(), threadpool_limits(1 if workers > 1 else None, user_api="blas"):
            found = part(first)
            pool = ThreadPoolExecutor(workers)
            try:
                return [found, *pool.map(part, others)]
            finally:
                pool.shutdown(cancel_futures=True)

    def finish(self, contents: Contents) -> None:
        """Put the result in its place, and remove the parts."""
        if self.run is not None:
            self.run.finish(contents)
        self.bar.set_description("done")

    def contents(self) -> dict[str, Any]:
        """What a complete result holds."""
        assert self.run is not None
        return results.read(self.run.path).contents
