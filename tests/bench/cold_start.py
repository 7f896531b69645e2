"""(l) Processor seconds from the command `functions-framework` to its answer to the first request.

Starting is work and not waiting; and unlike the clock on the wall, this does not count what else the machine does.
"""
from __future__ import annotations

import resource
import sys
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from infra.gateway import FUNCTIONS_DIR
from infra.processes import embedded_environment
from infra.servers.base import free_port, spawn, wait_until
from tests.bench import hello_world
from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, take_turns

RATIO_BOUND = Bound(1.5)
JSON = {"Content-Type": "application/json"}


def run(bench: Bench) -> list[Line]:
    bench.tell("(l) cold start of a function alone, embedded profile")
    folder = bench.folder / "cold-start"
    folder.mkdir()
    # Both sides from bytecode, as after any installation, and not from the source.
    env = embedded_environment(folder) | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    sides = {"list_tasks": partial(start_s, "list_tasks", FUNCTIONS_DIR / "list_tasks" / "main.py", env, folder),
             "hello": partial(start_s, "hello", Path(hello_world.__file__), env, folder)}
    for side in sides.values():  # writes the bytecode
        side()
    series = take_turns(sides, bench.sizes.start_rounds)
    return [Line("l", "a function alone, from the command to its first answer", "CPU s", series["list_tasks"],
                 "functions-framework's hello world", series["hello"], RATIO_BOUND)]


def start_s(name: str, source: Path, env: dict[str, str], folder: Path) -> float:
    port, log = free_port(), folder / f"{name}.log"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = spawn([Path(sys.executable).with_name("functions-framework"), "--source", source, "--target", name,
                     "--host", "127.0.0.1", "--port", str(port)], log, env)
    try:
        wait_until(lambda: _answers(port), process, name, log)
    finally:
        process.terminate()  # its master process collects its worker's seconds
        process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _answers(port: int) -> bool:
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}/", b"{}", JSON), timeout=10) as answer:
            return answer.status == 200
    except URLError:
        return False
