"""A long-lived worker: `python -m worker`. Wires it, says that it lives, and ends it well.

With `--intake` it takes object stores' events only, and converts nothing.
"""
from __future__ import annotations

import argparse
import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shared.deps import close_all, get_files, get_queue, get_store
from shared.documents import WorkerInfo
from shared.errors import Unavailable
from shared.logs import set_up_logs
from shared.settings import Settings, WrongSettings, get_settings
from shared.store import Store
from shared.store.sightings import get_sightings
from shared.triggers.rule_file import WrongRules, get_rules
from worker.cache import StageCache
from worker.caller import Caller
from worker.consumer import Consumer
from worker.execution import make_hosts
from worker.housekeeper import Housekeeper
from worker.intake import run_intake, take_event
from worker.log_sharer import LogSharer
from worker.plan import Plan, get_plans
from worker.single_flight import SingleFlight
from worker.stages.common import ONNX
from worker.sweeper import Sweeper
from worker.teller import Teller
from worker.toolchains import Toolchain, find_toolchain
from worker.tools import Tools
from worker.uploads import UploadSweeper

logger = logging.getLogger(__name__)

ANNOUNCE_SELF_S = 5.0
FORGET_AFTER_S = 3600.0


def main() -> int:
    cli = argparse.ArgumentParser(prog="python -m worker")
    cli.add_argument("--intake", action="store_true", help="take object stores' events, and convert nothing")
    intake_only = cli.parse_args().intake
    try:
        settings = get_settings()
    except WrongSettings as error:
        print(error, file=sys.stderr)  # how logs are written is a setting too
        return 1
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"  # new at each start
    set_up_logs(settings.log_level, worker=worker_id)
    if unknown := sorted(settings.platform_slots.keys() - get_plans().keys()):
        logger.error("MODEL_CONVERT_PLATFORM_SLOTS names no targets of ours: %s", ", ".join(unknown))
        return 1
    try:
        get_rules()
    except WrongRules as error:
        logger.error("the rules of MODEL_CONVERT_TRIGGERS are wrong: %s", error)
        return 1
    if intake_only:
        return run_intake()
    plans, toolchains = served_plans(settings)
    if not plans:
        logger.error("no target's toolchain is installed; run: make toolchains")
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # first of all: what is made from here on is cleaned up below
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as at_end:  # in reverse order
        at_end.callback(close_all)
        folder = at_end.enter_context(work_folder(settings.work_dir, worker_id))
        tools = wire(settings, toolchains, folder)
        at_end.callback(tools.logs.close)
        for host in tools.hosts.values():
            at_end.callback(host.close)
            host.start()
        store, queue = get_store(), get_queue()
        at_end.callback(forget, store, worker_id)
        consumer = Consumer(worker_id, store, queue, tools, plans, folder)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: consumer.drain())
        if stop.is_set():
            consumer.drain()
        at_end.callback(Sweeper(store, queue, settings, list(plans)).close)
        at_end.callback(Housekeeper(tools.files, store, tools.cache, settings).close)
        at_end.callback(UploadSweeper(tools.files, settings).close)
        if settings.callback_secret.get_secret_value():
            at_end.callback(Caller(store, settings).close)
        if intake := queue.receive_uploads(take_event):
            at_end.callback(intake.close)
        if publisher := queue.publish_events():
            at_end.callback(Teller(store, publisher).close)
        logger.info("ready", extra={"targets": list(plans), "slots": settings.slots,
                                    "platform_slots": settings.platform_slots})
        consumer.run(on_tick=announcer(store, describe(worker_id, settings, plans, toolchains)))
    logger.info("stopped")
    return 0


def forget(store: Store, worker_id: str) -> None:
    """Remove this worker from the live ones."""
    try:
        store.remove_worker(worker_id)
    except Unavailable:
        logger.warning("the store is away; it will forget this worker by itself")


def served_plans(settings: Settings) -> tuple[dict[str, Plan], dict[str, Toolchain]]:
    """The targets that this worker is to serve and whose toolchains are installed here, and these toolchains."""
    onnx = find_toolchain(ONNX, settings.toolchains_dir)
    if onnx is None:
        logger.error("the shared stages' environment is not installed; run: make toolchains")
        return {}, {}
    plans, toolchains = {}, {ONNX.name: onnx}
    for name, plan in get_plans().items():
        if settings.platforms and name not in settings.platforms:
            continue
        if toolchain := find_toolchain(plan.environment, settings.toolchains_dir):
            plans[name] = plan
            toolchains[plan.environment.name] = toolchain
    return plans, toolchains


def wire(settings: Settings, toolchains: dict[str, Toolchain], folder: Path) -> Tools:
    """Everything that the worker's tasks share; hosts are not started."""
    files = get_files()
    return Tools(settings=settings, files=files,
                 cache=StageCache(settings.cache_dir, settings.cache_bytes, files, settings.cache_bucket),
                 hosts=make_hosts(toolchains, settings), toolchains=toolchains,
                 threads=max(1, len(os.sched_getaffinity(0)) // settings.slots),
                 logs=LogSharer(files, settings, folder),
                 flights=SingleFlight(settings.cache_dir / "flights", settings.lease_s))


def describe(worker_id: str, settings: Settings, plans: dict[str, Plan],
             toolchains: dict[str, Toolchain]) -> WorkerInfo:
    now = time.time()
    return WorkerInfo(id=worker_id, host=socket.gethostname(), pid=os.getpid(), slots=settings.slots,
                      platforms={name: toolchains[plan.environment.name].versions | toolchains[ONNX.name].versions
                                 for name, plan in plans.items()},
                      platform_slots={name: most for name, most in settings.platform_slots.items() if name in plans},
                      started_at=now, seen_at=now)


def announcer(store: Store, info: WorkerInfo) -> Callable[[], None]:
    """A function that tells the store every few seconds that this worker lives, and forgets workers long gone."""
    last = float("-inf")

    def tell() -> None:
        nonlocal last
        if time.monotonic() - last < ANNOUNCE_SELF_S:
            return
        last = time.monotonic()
        try:
            store.save_worker(info.model_copy(update={"seen_at": time.time()}))
            for other in store.workers():
                if other.seen_at < time.time() - FORGET_AFTER_S:
                    store.remove_worker(other.id)
            # A live one of another version writes its document anew within seconds.
            for unreadable in get_sightings().ids("worker", for_s=FORGET_AFTER_S):
                store.remove_worker(unreadable)
        except Unavailable as error:
            logger.warning("cannot tell that this worker lives: %s", error)

    return tell


@contextmanager
def work_folder(root: Path, worker_id: str) -> Iterator[Path]:
    """This worker's own folder, locked as long as it lives; folders whose worker is dead are removed."""
    root.mkdir(parents=True, exist_ok=True)
    remove_dead(root)
    while True:
        lock = (root / f"{worker_id}.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock.fileno()).st_nlink:
            break
        lock.close()  # another worker took it for a dead one's before it was locked
    folder = root / worker_id
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(lock.name).unlink(missing_ok=True)
        lock.close()


def remove_dead(root: Path) -> None:
    """Remove the work folders whose lock nobody holds."""
    for lock_path in root.glob("*.lock"):
        with lock_path.open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if not os.fstat(held.fileno()).st_nlink:
                continue  # somebody else removed it just now; the name may be a new worker's
            shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
            lock_path.unlink(missing_ok=True)
