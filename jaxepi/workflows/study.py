"""The engine of all studies: items x observables, of which every finished one is kept, and a second call goes on from there.

Flows in: a path, where its result comes from (`results.provenance`), items by name, and a function from an item to its
observables (nested dicts of what the store holds). Flows out: the observables in the order of the items, each read from its
part where an earlier call finished it. One process at a time makes a result; a first SIGINT or SIGTERM lets what is being
computed finish, and the line that ends the program says what is kept.

Where a run has several processes (`machines.connect`), all of them call the same study: process 0 deals out the items that are
not finished, computes its own share, and alone reads and writes files; the others send it what they computed, and leave the
study with `machines.Helped` at the end of `map`.

    with Study.open(output, origin, resume=resume, unit="snapshot", total=len(items)) as study:
        if study.complete:
            return load(output)
        prepared = study.keep("prepared", prepare)
        parts = study.map(items, compute, workers)
        study.finish(contents(prepared, parts))
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from jaxepi import machines, results, signals
from jaxepi.files import Output, claim, locked
from jaxepi.machines import Helped, Peers
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


def _cut(names: list[str], size: int) -> list[list[str]]:
    """Names by lots of `size`, the last one of what is left."""
    return [names[i : i + size] for i in range(0, len(names), size)]


class Study:
    """A result under construction; see `open`.

    Attributes:
        run: the parts in the store, or None for a study in memory. bar: what shows how far it is.
        unit: what an item is called. peers: the processes that share the items, or None. name: of the study among them.
    """

    def __init__(self, run: Run | None, bar: tqdm, unit: str, peers: Peers | None = None, name: str = "") -> None:
        self.run, self.bar, self.unit, self.peers, self.name = run, bar, unit, peers, name

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
            InputError: a path that cannot be written, another run that makes it, a result of other settings or models, or
                another process of this run that stopped or died. machines.Helped: the result is there, and this process is
                not the one that writes. signals.Interrupted: a signal came; what is finished is kept.
        """
        peers = machines.peers()
        name = "" if peers is None else peers.next_study()
        writes = peers is None or peers.writes
        with (
            progress_bar(total=total, unit=unit, shown=progress and total > 0 and writes) as bar,
            nullcontext() if peers is None else peers.telling(name),
        ):
            if not writes:
                with signals.noted("process 0 keeps what is finished"):
                    study = cls(None, bar, unit, peers, name)
                    if json.loads(study._heard("begun"))["complete"]:
                        raise Helped
                    yield study
                return
            with cls._run(path, origin, resume, ignore, unit) as run:
                study = cls(run, bar, unit, peers, name)
                study._tell("begun", json.dumps({"complete": study.complete}).encode())
                yield study

    @classmethod
    @contextmanager
    def _run(
        cls, path: str | os.PathLike | None, origin: Mapping[str, Any], resume: bool, ignore: tuple[str, ...], unit: str
    ) -> Iterator[Run | None]:
        """The parts in the store, held alone while they are made."""
        if path is None:
            with signals.noted("nothing is kept without --output"):
                yield None
            return
        target = Path(path)
        claim([Output("--output", target, own=True)])
        parts = results.parts_of(target)
        if resume and target.exists():
            yield Run(target, origin, resume, ignore)
            return
        with alone(parts, target, f"finished {unit}s are kept in {parts}", resume):
            yield Run(target, origin, resume, ignore)

    @property
    def origin(self) -> dict[str, Any]:
        """Where the result comes from."""
        return {} if self.run is None else self.run.origin

    @property
    def complete(self) -> bool:
        """Whether the result is there already."""
        return self.run is not None and self.run.complete

    def _tell(self, what: str, message: bytes) -> None:
        if self.peers is not None:
            self.peers.tell(f"{self.name}/{what}", message)

    def _heard(self, what: str, stop: threading.Event | None = None, keep: bool = True) -> bytes:
        assert self.peers is not None
        return self.peers.wait(f"{self.name}/{what}", self.name, stop, keep)

    def keep(self, name: str, compute: Callable[[], Contents]) -> dict[str, Any]:
        """One part of the study that belongs to no item: read where it is finished, computed and kept otherwise."""
        self.bar.set_description(name)
        if self.peers is not None and not self.peers.writes:
            return results.of_image(self._heard(name))
        found = dict(compute()) if self.run is None else self.run.keep(name, compute)
        if self.peers is not None:
            self._tell(name, results.image(found, {}))
        return found

    def map(
        self, items: Mapping[str, Item], compute: Callable[[Item], Contents], workers: int = 1
    ) -> list[dict[str, Any]]:
        """Observables of all items, in their order: `map_lots` of one item each."""
        return self.map_lots(items, lambda lot: [compute(lot[0])], 1, workers)

    def map_lots(
        self,
        items: Mapping[str, Item],
        compute: Callable[[Sequence[Item]], Sequence[Contents]],
        size: int,
        workers: int = 1,
    ) -> list[dict[str, Any]]:
        """Observables of all items, in their order, of some items computed together: the first lot alone, for it compiles,
        the others on some threads at once.

        LAPACK runs on one thread in each of several: items side by side use the cores better than its own threads do. An
        error or a signal lets what is being computed finish, starts nothing more, and is raised. Parts are kept item by item:
        a later call may have lots of another size, and other processes.

        Args:
            items: by the names of their parts. compute: observables of each of at most `size` items. workers: threads.

        Raises:
            machines.Helped: this process has computed its share, and another one writes.
        """
        found = {name: None if self.run is None else self.run.get(name) for name in items} if self._writes else {}
        lots = _cut([name for name in items if found.get(name) is None], size)
        if self.peers is not None:
            # Process 0 cuts for all: another may have more devices, and lots of another size.
            self._tell("lots", json.dumps(lots).encode()) if self._writes else None
            lots = lots if self._writes else json.loads(self._heard("lots"))
        waiting = [name for lot in lots for name in lot]
        self.bar.set_description(f"{self.unit}s")
        self.bar.initial = self.bar.n = len(items) - len(waiting)
        self.bar.unpause()
        first, count = (0, 1) if self.peers is None else (self.peers.process, self.peers.count)
        own = lots[first::count]
        theirs = [name for i, lot in enumerate(lots) if i % count for name in lot]
        with (
            signals.postponed(),
            threadpool_limits(1 if workers > 1 else None, user_api="blas"),
            self._received(theirs, found) as arrived,
        ):

            def part(lot: list[str]) -> None:
                signals.check()
                arrived()
                for names in _cut(lot, size):
                    for name, contents in zip(names, compute([items[name] for name in names]), strict=True):
                        found[name] = self._kept(name, contents)

            for lot in own[:1]:
                part(lot)
            pool = ThreadPoolExecutor(workers)
            try:
                list(pool.map(part, own[1:]))
            finally:
                pool.shutdown(cancel_futures=True)
            if not self._writes:
                self._heard("received")
                raise Helped
        self._tell("received", b"all")
        self.peers = None  # they have left
        return [dict(found[name] or {}) for name in items]

    @property
    def _writes(self) -> bool:
        return self.peers is None or self.peers.writes

    def _kept(self, name: str, contents: Contents) -> dict[str, Any]:
        """One part in its place: the store's, or with process 0."""
        if not self._writes:
            self._tell(f"part/{name}", results.image(contents, {}))
            return {}
        self.bar.update()
        return dict(contents) if self.run is None else self.run.replaced(name, contents)

    @contextmanager
    def _received(self, names: list[str], found: dict[str, dict[str, Any] | None]) -> Iterator[Callable[[], None]]:
        """While the block runs, and until all is there, parts of other processes are put in their places.

        The block gets what raises an error of that at once.
        """
        if self.peers is None or not self._writes:
            yield (lambda: None) if self.peers is None else partial(self.peers.check, self.name)
            return
        stop = threading.Event()

        def receive() -> None:
            for name in names:
                held = self._heard(f"part/{name}", stop, keep=False)
                if stop.is_set():
                    return
                if self.run is not None:
                    self.run.put_image(name, held)
                found[name] = results.of_image(held)
                self.bar.update()

        with ThreadPoolExecutor(1) as pool:
            receiving = pool.submit(receive)
            try:
                yield lambda: receiving.result() if receiving.done() else None
                while not receiving.done():
                    signals.check()
                    wait([receiving], timeout=0.2)
                receiving.result()
            finally:
                stop.set()

    def finish(self, contents: Contents) -> None:
        """Put the result in its place, and remove the parts."""
        if self.run is not None:
            self.run.finish(contents)
        self.bar.set_description("done")

    def contents(self) -> dict[str, Any]:
        """What a complete result holds."""
        assert self.run is not None
        return results.read(self.run.path).contents
