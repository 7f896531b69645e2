"""One run: faults and clients for a few seconds, then rest, then everything that is known of it."""
from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from infra.servers.base import CannotStart
from shared.documents import TERMINAL, Status, Task
from shared.files import Files, open_files
from shared.store import Store, TaskFilter, open_store
from tests.chaos.bad_documents import put_bad_documents
from tests.chaos.clients import Clients
from tests.chaos.faults import Injector
from tests.chaos.history import History, read_lines
from tests.chaos.proxy import Proxies
from tests.chaos.scenario import TASKS, WORKERS, Scenario
from tests.chaos.servers import Servers
from tests.chaos.service import GATEWAY, Service
from tests.chaos.stages import as_onnx

START_S = 180.0
REST_S = 180.0  # an owner that could not reach the store tries again every 5 s or so
CLEAN_S = 30.0
TIMEOUT_S = 30.0
SETTLING = -1  # the number of the client that resumes what is paused in the end


def run(scenario: Scenario, folder: Path, servers: Servers | None, mutant: str | None = None) -> History:
    """`folder` is made; `servers` are those of the service profile."""
    name = f"chaos-{secrets.token_hex(4)}"
    urls = servers.fresh_names() if servers else {
        "store": f"sqlite:{folder / 'tasks.db'}", "queue": "poll:", "files": f"file:{folder / 'buckets'}"}
    with Proxies() as proxies:
        service = Service(folder, name, urls, proxies if servers else None, mutant)
        store = open_store(urls["store"], TIMEOUT_S)
        files = open_files(urls["files"], TIMEOUT_S)
        history = History()
        injector = Injector(service, servers, scenario.faults)
        try:
            _upload(scenario, files, service)
            for number in (GATEWAY, *range(WORKERS)):
                service.start(number)
            _wait_until_ready(service)
            bad = put_bad_documents(urls["store"])
            clients = Clients(service.base_url, scenario, service.buckets[0], service.unwritable)
            injector.start()
            clients.run()
            injector.finish()
            _wait_until_ready(service)
            history.came_to_rest = _settle(store, clients)
            if history.came_to_rest:
                _wait(lambda: not service.stage_processes() and not service.directories("*/*"), CLEAN_S)
            history.leftovers = [*service.stage_processes(), *service.directories("*/*")]
            history.undeletable = [task_id for task_id in bad
                                   if clients.act(SETTLING, "delete", (task_id,)).outcome[task_id] is not True]
            history.listings = [clients.list_all(), *(clients.list_all(status.value) for status in Status)]
            history.calls, history.faults, history.killed = clients.calls, injector.happened, service.killed
        finally:
            injector.give_up()
            history.leftovers += service.end()
        _collect(history, scenario, service, store, files)
        store.close()
        files.close()
    return history


def _wait_until_ready(service: Service) -> None:
    """Raises `CannotStart`: this is no finding, but a product that does not run."""
    if not _wait(lambda: all(map(service.is_ready, service.processes)), START_S):
        raise CannotStart(f"not all of {list(service.processes)} got ready; see {service.folder}/*.log")


def _upload(scenario: Scenario, files: Files, service: Service) -> None:
    source = service.folder / "model"
    source.write_bytes(b"an object, and no folder")
    files.upload(source, service.unwritable)
    for number, model in enumerate(scenario.models):
        source.write_bytes(as_onnx(model))
        files.upload(source, f"{service.buckets[0]}/model-{number}.onnx")


def _settle(store: Store, clients: Clients) -> bool:
    """Resume what is paused until all tasks have ended; False where that took too long."""
    def at_rest() -> bool:
        tasks = _all_tasks(store)
        paused = tuple(task.id for task in tasks if task.status is Status.PAUSED)
        if paused:
            clients.act(SETTLING, "resume", paused)
        return all(task.status in TERMINAL for task in tasks)

    return _wait(at_rest, REST_S)


def _wait(holds: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _all_tasks(store: Store) -> list[Task]:
    return [task for task in store.list_page(TaskFilter(), 1, 10 * TASKS)[0] if isinstance(task, Task)]


def _collect(history: History, scenario: Scenario, service: Service, store: Store, files: Files) -> None:
    history.journal, history.counter = read_lines(service.journal), read_lines(service.counter)
    history.documents = {task.id: task for task in _all_tasks(store)}
    history.models = {task.id: scenario.models[int(task.labels["number"])] for task in history.documents.values()}
    history.unwritable = {task.id for task in history.documents.values()
                          if int(task.labels["number"]) in scenario.unwritable}
    for task_id in history.documents:
        history.events[task_id] = store.events(task_id) or []
    for bucket in service.buckets[1:]:
        for info in list(files.find(f"{bucket}/")):
            history.objects[info.path] = files.read_range(info.path, 0, 1 << 20)[1] if info.size_bytes else b""
