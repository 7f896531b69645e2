"""`make test`: all tests, spread over processes that share the servers. `python -m tests.suites [--all] [PATH…]`

pytest-xdist hands whole files to the processes, the slowest folders first. Most tests wait more than they compute, so
that there are more processes than cores. On a desk the tests of a real toolchain run only if the target, or code that
every target uses, has changed since the branch left main, and nothing is measured. --all runs every test and measures
coverage, which takes longer. CI asks for it.
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from infra.servers import minio, mongo, rabbitmq
from infra.servers.base import CannotStart
from shared.platforms import get_platforms
from tests.fixtures.common import SERVERS

ROOT = Path(__file__).resolve().parent.parent
# The slowest files first, so that no process ends long after the others.
FOLDERS = ("faults", "toolchains", "e2e", "chaos", "protocol", "integration", "contract", "functions", "unit")
# Changes below these can change what any toolchain makes.
COMMON = ("shared/platforms/__init__.py", "shared/platforms/base.py", "shared/platforms/shapes.py", "shared/rules/",
          "worker/", "infra/toolchains.py", "infra/operators/", "tests/fixtures/", "tests/standins/", "tests/models.py",
          "pyproject.toml")
OF_A_TARGET = ("worker/platforms/", "shared/platforms/", "tests/toolchains/")


def changed_files(root: Path = ROOT) -> list[str]:
    """Paths that differ from the commit where this branch left main, uncommitted and new files included. Every file
    where that commit is not known: without a remote, or without git."""
    def git(*arguments: str) -> list[str]:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    try:
        base = git("merge-base", "HEAD", "origin/main")[0]
        return git("diff", "--name-only", base) + git("ls-files", "--others", "--exclude-standard")
    except (OSError, subprocess.CalledProcessError):
        return [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]


def select_targets(changed: list[str]) -> dict[str, str]:
    """`{target: the changed file that asks for its toolchain's tests}`; the shared stages' environment is `onnx`."""
    names = [*get_platforms(), "onnx"]
    selected: dict[str, str] = {}
    for path in changed:
        own = [name for name in names if path.startswith(tuple(f"{folder}{name}" for folder in OF_A_TARGET))]
        for name in own or (names if path.startswith(COMMON) else ()):
            selected.setdefault(name, path)
    return selected


@contextmanager
def shared_servers() -> Iterator[dict[str, dict[str, object]]]:
    """Each server once. One that cannot be had is left out: its tests then skip or fail by themselves. A SIGTERM ends
    this process through its exits, so that no server is left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="test-servers-")))
        there: dict[str, dict[str, object]] = {}
        for name, module in (("mongo", mongo), ("minio", minio), ("rabbitmq", rabbitmq)):
            try:
                server = module.start(folder / name)
            except CannotStart as why:
                print(f"{name} cannot be had: {why}", flush=True)
                continue
            stack.callback(server.stop)
            there[name] = {"url": server.url}
            if isinstance(server, rabbitmq.RabbitServer):
                there[name]["env"] = server.env
        yield there


def environment() -> dict[str, str]:
    """Ours, but bytecode is kept: else each of the hundreds of processes that tests start compiles our modules anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.suites", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every toolchain's tests, and coverage")
    parser.add_argument("-n", type=int, default=2 * (os.cpu_count() or 2), help="processes (two for each core)")
    arguments = parser.parse_args(argv)
    paths = [f"tests/{folder}" for folder in FOLDERS if (ROOT / "tests" / folder).exists()]
    ignored = []
    if not arguments.all:
        selected = select_targets(changed_files())
        for name in [*get_platforms(), "onnx"]:
            if name in selected:
                print(f"tests of toolchain {name}: run, since {selected[name]} has changed", flush=True)
            else:
                print(f"tests of toolchain {name}: left out, nothing of it has changed (ALL=1 runs them)", flush=True)
                ignored.append(f"--ignore=tests/toolchains/{name}")
    measured = ["coverage", "run", "-m"] if arguments.all else []
    with shared_servers() as servers:
        return subprocess.run(
            [sys.executable, "-m", *measured, "pytest", "-n", str(arguments.n), "--dist", "loadfile",
             "--no-loadscope-reorder", "--durations=15", *ignored, *paths],
            cwd=ROOT, env=environment() | {SERVERS: json.dumps(servers)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
