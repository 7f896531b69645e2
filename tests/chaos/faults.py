"""Lets a scenario's faults happen, each at its time, and ends them."""
from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.chaos.scenario import WORKERS, Fault
from tests.chaos.servers import Servers
from tests.chaos.service import Service
from tests.fixtures.disks import filled_up

PUBLISHING_WITHIN_S = 1.5


class Injector:
    """Each fault has a thread; `finish` waits for all, leaves everything up and connected, and raises what went wrong
    with a fault itself. `happened` tells what happened when."""

    def __init__(self, service: Service, servers: Servers | None, faults: list[Fault]) -> None:
        self._service, self._servers, self._faults = service, servers, faults
        self._locks = [threading.Lock() for _ in range(WORKERS + 1)]  # a process suffers one fault after another
        self._threads: list[threading.Thread] = []
        self._given_up = threading.Event()
        self._errors: list[Exception] = []
        self.happened: list[tuple[float, str]] = []

    def start(self) -> None:
        begun = time.monotonic()
        for fault in self._faults:
            thread = threading.Thread(target=self._run, args=(fault, begun), daemon=True)
            thread.start()
            self._threads.append(thread)

    def finish(self) -> None:
        for thread in self._threads:
            thread.join(120.0)
        for number in range(WORKERS + 1):
            self._service.signal(number, signal.SIGCONT)
            self._service.start(number)
        self._tell("no more faults")
        if self._errors:
            raise self._errors[0]

    def give_up(self) -> None:
        """What has not happened yet does not any more; what is under way ends at once."""
        self._given_up.set()
        for thread in self._threads:
            thread.join(120.0)

    def _tell(self, text: str) -> None:
        self.happened.append((time.time(), text))

    def _run(self, fault: Fault, begun: float) -> None:
        kinds: dict[str, Callable[[Fault], None]] = {
            "kill": self._kill, "kill gateway": self._kill, "stop": self._stop, "freeze": self._freeze,
            "kill publishing": self._kill_publishing, "freeze publishing": self._freeze_publishing,
            "kill child": self._kill_child, "lock store": self._lock_store, "restart broker": self._restart_broker,
            "fill disk": self._fill_disk}
        self._given_up.wait(max(0.0, begun + fault.at - time.monotonic()))
        with self._locks[fault.victim]:
            if self._given_up.is_set():
                return
            self._tell(f"{fault.kind} {fault.victim} {fault.dependencies} {fault.seconds:.2f}")
            try:
                kinds.get(fault.kind, self._break_way)(fault)
            except Exception as error:
                self._errors.append(error)
            self._tell(f"end of {fault.kind} {fault.victim}")

    def _kill(self, fault: Fault) -> None:
        self._service.kill(fault.victim)
        self._given_up.wait(fault.seconds)
        self._service.start(fault.victim)

    def _stop(self, fault: Fault) -> None:
        self._service.stop(fault.victim)
        self._given_up.wait(fault.seconds)
        self._service.start(fault.victim)

    def _freeze(self, fault: Fault) -> None:
        self._service.signal(fault.victim, signal.SIGSTOP)
        self._given_up.wait(fault.seconds)
        self._service.signal(fault.victim, signal.SIGCONT)

    def _kill_publishing(self, fault: Fault) -> None:
        self._wait_for_publishing(fault)
        self._kill(fault)

    def _freeze_publishing(self, fault: Fault) -> None:
        self._wait_for_publishing(fault)
        self._freeze(fault)

    def _wait_for_publishing(self, fault: Fault) -> None:
        """Until the victim publishes: between the first object and the task's completion. Not for long: it may not."""
        publishing = f'"process": "{self._service.name_of(fault.victim)}"'
        deadline = time.monotonic() + PUBLISHING_WITHIN_S
        with self._service.journal.open(encoding="utf-8") as journal:
            journal.seek(0, os.SEEK_END)
            while time.monotonic() < deadline and not self._given_up.is_set():
                line = journal.readline()
                if publishing in line and '["stage_started"]' in line and '"stage": "publish"' in line:
                    time.sleep(fault.number / 5000)
                    return
                if not line:
                    time.sleep(0.001)

    def _kill_child(self, fault: Fault) -> None:
        """A toolhost, a stage, or what a stage has started."""
        children = self._service.descendants(fault.victim)
        if children:
            with suppress(psutil.NoSuchProcess):
                children[fault.number % len(children)].kill()

    def _lock_store(self, fault: Fault) -> None:
        """Nobody can write, all can read: owners cannot beat, and a reaper sees it."""
        path = self._service.urls["store"].removeprefix("sqlite:")
        connection = sqlite3.connect(path, timeout=10.0, isolation_level=None)
        with suppress(sqlite3.OperationalError):  # not once in ten seconds: it was busy enough
            connection.execute("BEGIN IMMEDIATE")
            self._given_up.wait(fault.seconds)
            connection.execute("ROLLBACK")
        connection.close()

    def _fill_disk(self, fault: Fault) -> None:
        if (disk := self._service.disk(fault.victim)) in self._service.disks:
            with filled_up(disk):
                self._given_up.wait(fault.seconds)

    def _restart_broker(self, fault: Fault) -> None:
        assert self._servers is not None
        self._servers.restart_broker()

    def _break_way(self, fault: Fault) -> None:
        """`cut`, `hold` and `deafen` one way of one process, or all of a worker's at once (`part`)."""
        ways = [self._service.ways[fault.victim][kind] for kind in fault.dependencies]
        for way in ways:
            {"cut": way.cut, "hold": way.hold, "deafen": way.deafen, "part": way.cut}[fault.kind]()
        self._given_up.wait(fault.seconds)
        for way in ways:
            way.heal()
