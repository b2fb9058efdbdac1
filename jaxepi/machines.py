"""The machines of a run: devices over which snapshots lie, and processes that share out the items of a study.

Devices of one process compute one batch of snapshots together, as a mesh (`Devices`). Processes, on one machine or on many,
share nothing but messages: each takes its share of the items and sends what is finished to process 0, which alone writes. So no
process waits for another at every step, one that is slow or dies harms nobody's numbers, and no file system need be shared.
The messages go through the coordination service of `jax.distributed`, which process 0 runs. Where that one dies, JAX itself
ends the others at once and calls it the leader; each has said at its start which process that is.
"""

import atexit
import dataclasses
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxepi import signals
from jaxepi.errors import InputError

AXES = ("snapshot", "k")
"""Of a mesh of devices."""

PATIENCE = 60.0
"""Seconds without a sign of life after which a process counts as dead."""

BEAT = 2.0
"""Seconds between signs of life."""

LEAVING = 5.0
"""Seconds that process 0 waits at its end for the others to leave."""

TRANSFER = 600_000
"""Milliseconds in which a message that is there has to arrive."""


@dataclasses.dataclass(frozen=True)
class Devices:
    """Over which devices of this process snapshots are spread.

    Attributes:
        count: how many; all that JAX has here when left out. per_snapshot: of them share the k points of one snapshot.
    """

    count: int | None = None
    per_snapshot: int = 1

    def mesh(self) -> Mesh:
        """The devices, of shape (snapshots at once, devices of one).

        Raises:
            InputError: more devices than there are, or a number that `per_snapshot` does not divide.
        """
        there = jax.local_devices()
        count = len(there) if self.count is None else self.count
        if not 1 <= count <= len(there):
            kind = there[0].platform
            more = (
                f"; XLA_FLAGS=--xla_force_host_platform_device_count={count} makes so many of one CPU"
                if kind == "cpu"
                else ""
            )
            raise InputError(f"devices {count}: this process has {len(there)} ({kind}); give as many at most{more}")
        if self.per_snapshot < 1 or count % self.per_snapshot:
            fitting = " or ".join(str(n) for n in range(1, count + 1) if count % n == 0)
            raise InputError(
                f"devices-per-snapshot {self.per_snapshot} does not divide {count} devices; give {fitting}, or other devices"
            )
        return Mesh(np.array(there[:count]).reshape(-1, self.per_snapshot), AXES)


class Helped(SystemExit):
    """This process has computed its share of a study; the result is with process 0. Ends a program quietly, as done."""

    def __init__(self) -> None:
        super().__init__(0)


class Peers:
    """The processes of a run, and what they tell one another.

    Attributes:
        process: the number of this one. count: how many there are.
    """

    def __init__(self, client: Any, process: int, count: int, patience: float = PATIENCE) -> None:
        self.client, self.process, self.count, self.patience = client, process, count, patience
        self._heard: dict[int, tuple[str, float]] = {}
        self._hosts: dict[int, str] = {}
        self._dead: set[int] = set()
        self._studies = 0
        client.key_value_set(f"jaxepi/host/{process}", socket.gethostname())
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        with suppress(Exception):  # the service has gone, or the interpreter ends
            while True:
                self.client.key_value_increment(f"jaxepi/alive/{self.process}", 1)
                time.sleep(BEAT)

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self.process == 0

    def name(self, process: int) -> str:
        """A process and its host, in words."""
        if process not in self._hosts:
            found = self._tried(f"jaxepi/host/{process}")
            if found is None:
                return f"process {process}"
            self._hosts[process] = found
        return f"process {process} on {self._hosts[process]}"

    def next_study(self) -> str:
        """A name of the next study, the same in all processes."""
        self._studies += 1
        return f"jaxepi/study/{self._studies}"

    def tell(self, key: str, message: bytes) -> None:
        """Leave a message for whoever waits for it.

        Raises:
            InputError: process 0 has gone.
        """
        try:
            self.client.key_value_set_bytes(key, message)
            self.client.key_value_set(f"{key}/there", "whole")
        except jax.errors.JaxRuntimeError as error:
            raise self._gone(0, error) from error

    def wait(self, key: str, study: str, stop: threading.Event | None = None, keep: bool = True) -> bytes:
        """A message, as soon as it is there.

        Args:
            study: whose processes are waited with. stop: gives up waiting. keep: for others that wait for it.

        Raises:
            InputError: a process died, or stopped with an error; names it. signals.Interrupted: a signal has been noted.
        """
        while stop is None or not stop.is_set():
            signals.check()
            try:
                # What is waited for is small: the time allowed includes the transfer, which of a large message takes longer.
                self.client.blocking_key_value_get(f"{key}/there", 500)
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise self._gone(0, error) from error
                self.check(study)
                continue
            try:
                found = self.client.blocking_key_value_get_bytes(key, TRANSFER)
                if not keep:
                    self.client.key_value_delete(key)  # with all keys below it
            except jax.errors.JaxRuntimeError as error:
                raise self._gone(0, error) from error
            return found
        return b""

    def check(self, study: str) -> None:
        """Stop here if another process has: process 0 looks after all, the others after process 0.

        Raises:
            InputError: names the process, and what it said where it said something.
        """
        now = time.monotonic()
        for other in range(1, self.count) if self.writes else (0,):
            said = self._tried(f"{study}/stopped/{other}")
            if said is not None:
                raise InputError(f"{self.name(other)} stopped: {said}")
            self.name(other)
            beat = self._tried(f"jaxepi/alive/{other}") or ""
            before, since = self._heard.get(other, ("none", now))
            self._heard[other] = (beat, now) if beat != before else (before, since)
            if now - self._heard[other][1] > self.patience:
                self._dead.add(other)
                raise self._gone(other)

    def _tried(self, key: str) -> str | None:
        try:
            return self.client.key_value_try_get(key)
        except jax.errors.JaxRuntimeError as error:
            if "NOT_FOUND" in str(error):
                return None
            raise self._gone(0, error) from error

    def _gone(self, process: int, error: Exception | None = None) -> InputError:
        why = f"no sign of life for {self.patience:g} s" if error is None else str(error).split(":")[0].lower()
        who = self.name(process) if process in self._hosts else f"process {process}"
        return InputError(f"{who} has died ({why}); what was finished is kept, and the same command goes on from there")

    def leave(self) -> None:
        """Let process 0 end last: JAX ends the others with a stack of C++ where the service goes before they have left it."""
        with suppress(Exception):
            if not self.writes:
                self.client.key_value_set(f"jaxepi/left/{self.process}", "at its end")
                return
            until = time.monotonic() + LEAVING
            for other in set(range(1, self.count)) - self._dead:
                while self._tried(f"jaxepi/left/{other}") is None and time.monotonic() < until:
                    time.sleep(0.05)
            time.sleep(0.1 * LEAVING)  # they have said so, and JAX takes leave next

    @contextmanager
    def telling(self, study: str) -> Iterator[None]:
        """A block whose failure the others hear of."""
        try:
            yield
        except Helped:
            raise
        except BaseException as error:
            said = " ".join(f"{error}".split()) or type(error).__name__
            with suppress(Exception):
                self.client.key_value_set(f"{study}/stopped/{self.process}", said)
            raise


_peers: list[Peers] = []


def peers(patience: float = PATIENCE) -> Peers | None:
    """The processes of this run, or None where it is alone; see `connect`."""
    from jax._src.distributed import global_state  # the service has no public name (jax 0.12 included)

    if global_state.client is None or global_state.num_processes < 2:
        return None
    if not _peers:
        _peers.append(Peers(global_state.client, global_state.process_id, global_state.num_processes, patience))
    return _peers[0]


def helps() -> bool:
    """Whether this process helps another, which writes."""
    there = peers() if jax.distributed.is_initialized() else None
    return there is not None and not there.writes


def connect(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    patience: float = PATIENCE,
) -> None:
    """Join the processes of a run, before anything is computed; all call it.

    Args:
        coordinator: host and port of process 0. processes: how many. process: the number of this one, from 0. What is left
            out follows from the variables of SLURM, or of another launcher that JAX knows. patience: seconds without a sign of
            life after which a process counts as dead.

    Raises:
        InputError: neither arguments nor variables that tell, or no answer of process 0.
    """
    given = (coordinator, processes, process)
    if None in given and any(value is not None for value in given):
        raise InputError("coordinator, processes and process belong together: give all three, or none under a launcher")
    found = _checked(*given) if coordinator is not None else slurm(os.environ)
    # Else JAX itself would end all processes with a stack of C++ as soon as one dies.
    jax.config.update("jax_enable_recoverability", True)
    try:
        if found is None:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(*found, cluster_detection_method="deactivate")
    except ValueError as error:
        raise InputError(
            "no launcher has set its variables (SLURM's SLURM_PROCID, say): start with srun, or give coordinator, processes "
            "and process"
        ) from error
    except RuntimeError as error:
        raise InputError(f"the processes did not come together: {str(error).splitlines()[0]}") from error
    there = peers(patience)
    if there is not None:
        atexit.register(there.leave)  # runs before what JAX registered
        host = there.client.blocking_key_value_get("jaxepi/host/0", int(1000 * patience))
        role = "writes" if there.writes else f"sends what it computes to process 0 on {host}"
        print(f"jaxepi: {there.name(there.process)}, of {there.count}, {role}", file=sys.stderr, flush=True)


def _checked(coordinator: str | None, processes: int | None, process: int | None) -> tuple[str, int, int]:
    """What was given of a process, if it can be."""
    if coordinator is None or not re.fullmatch(r".+:\d+", coordinator):
        raise InputError(f"coordinator {coordinator!r}: give the host of process 0 and a free port, as in node1:12345")
    if processes is None or process is None or not 0 <= process < processes:
        raise InputError(f"process {process} of {processes}: give numbers from 0 to {(processes or 1) - 1}")
    return coordinator, processes, process


def slurm(variables: Mapping[str, str]) -> tuple[str, int, int] | None:
    """Coordinator, number of processes and number of this one from SLURM's variables; None outside a step of SLURM.

    Each process has the devices that SLURM shows it (--gpus-per-task, or all of its node).
    """
    nodes, count, number = (
        variables.get(name) for name in ("SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID")
    )
    if nodes is None or count is None or number is None:
        return None
    # The first of nodes like "n[007-012,20],gpu3"; a port that no other job of the node takes.
    first = re.match(r"([^,\[]+)(?:\[([^\],-]+))?", nodes)
    if first is None:
        return None
    port = int(variables.get("SLURM_JOB_ID", "0")) % 4096 + 61440
    return f"{first[1]}{first[2] or ''}:{port}", int(count), int(number)
