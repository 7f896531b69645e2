"""The service profile in the background: `python -m infra.up up|down --data ./data/service --port 8000 --workers 2`.

A MinIO that is started here tells of uploads: `--events` says to whom.

Servers, in this order: what MODEL_CONVERT_STORE_URL, …_QUEUE_URL and …_FILES_URL name; else a running Docker engine
with infra/compose.yaml; else programs of this machine, installed where they are missing (infra/servers). Data is kept.
"""
from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from infra.bucket_events import CannotSetUp, set_up
from infra.client import Client
from infra.first_key import AUTH, KEY, NoFirstKey, find_or_make_key, needs_keys
from infra.processes import Processes
from infra.servers import minio, mongo, rabbitmq
from infra.servers.base import CannotStart, Server, free_port
from infra.servers.minio_events import ARNS, amqp_environment, webhook_environment
from shared.secret_files import WrongSecretFile, is_given, read_given
from shared.settings import WrongSettings, get_settings
from shared.triggers.rule_file import WrongRules, get_rules

TOKEN = "MODEL_CONVERT_EVENTS_TOKEN"
COMPOSE = Path(__file__).with_name("compose.yaml")
STARTERS: dict[str, tuple[str, Callable[..., Server], int]] = {
    "mongo": ("MODEL_CONVERT_STORE_URL", mongo.start, 27017),
    "rabbitmq": ("MODEL_CONVERT_QUEUE_URL", rabbitmq.start, 5672),
    "minio": ("MODEL_CONVERT_FILES_URL", minio.start, 9000),
}


def main() -> int:
    cli = argparse.ArgumentParser(description="the service profile in the background")
    cli.add_argument("action", choices=("up", "down"))
    cli.add_argument("--data", type=Path, default=Path("data/service"))
    cli.add_argument("--host", default="127.0.0.1")
    cli.add_argument("--port", type=int, default=8000)
    cli.add_argument("--workers", type=int, default=1)
    cli.add_argument("--events", default="amqp,webhook",
                     help="to whom MinIO tells of uploads: amqp, webhook, both by a comma, or none; see docs/events.md")
    args = cli.parse_args()
    data_dir = args.data.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    processes = Processes(data_dir, args.host, args.port, args.workers)
    try:
        return up(processes, _ways(args.events)) if args.action == "up" else down(processes)
    except (CannotStart, CannotSetUp, NoFirstKey, WrongSettings, WrongRules) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        down(processes)
        return 1


def up(processes: Processes, ways: list[str]) -> int:
    if _state_path(processes).exists():
        print("it is up already (or was not taken down): make down first", file=sys.stderr)
        return 1
    rules = get_rules()  # before anything runs
    named = {variable for variable, _, _ in STARTERS.values() if is_given(os.environ, variable)}
    if not named and docker_engine_runs():
        subprocess.run(["docker", "compose", "-f", COMPOSE, "up", "--detach", "--build"], check=True,
                       env=os.environ | {"PORT": str(processes.port), "WORKERS": str(processes.workers)})
        _state_path(processes).write_text(json.dumps({"compose": True}))
        subprocess.run(["docker", "compose", "-f", COMPOSE, "exec", "-T", "rabbitmq", "rabbitmqctl",
                        *rabbitmq.limit_arguments()], check=True)
        if needs_keys(os.environ, processes.host):
            inside = ["docker", "compose", "-f", str(COMPOSE), "exec", "-T", "functions", "python", "-m", "infra.keys"]
            path = processes.data_dir / "service.env"
            if key := find_or_make_key(path, os.environ, inside):
                write_settings(path, {KEY: key})
    else:
        environment = dict(os.environ)
        if not is_given(environment, TOKEN):
            environment[TOKEN] = _events_token(processes.data_dir / "events-token")
        pids: dict[str, tuple[int, str]] = {}
        for name, (variable, start, usual_port) in STARTERS.items():
            if variable in named:
                continue
            options = {"environment": _events(processes, ways, environment)} if name == "minio" else {}
            server = start(processes.data_dir / name, port=usual_port if port_is_free(usual_port) else free_port(),
                           **options)
            pids[name] = (server.process.pid, start_time(server.process.pid))
            _state_path(processes).write_text(json.dumps({"pids": pids}))
            environment[variable] = server.url
            if isinstance(server, rabbitmq.RabbitServer):
                rabbitmq.rabbitmqctl(server, *rabbitmq.limit_arguments())
        if "minio" in pids:
            set_up(environment["MODEL_CONVERT_FILES_URL"], _read(environment, "MODEL_CONVERT_QUEUE_URL"),
                   _possible(ways, environment), rules, get_settings().tls)
        else:
            print("the sweep finds uploads in the object store that you named; docs/events.md lets it tell of them")
        settings_path = processes.data_dir / "service.env"
        if needs_keys(environment, processes.host) and (key := find_or_make_key(settings_path, environment)):
            environment[KEY] = key
        write_settings(settings_path, environment)
        environment.pop(KEY, None)  # no process needs it
        environment.setdefault("MODEL_CONVERT_CACHE_DIR", str(processes.data_dir / "stages"))
        environment.setdefault("MODEL_CONVERT_WORK_DIR", str(processes.data_dir / "work"))
        _state_path(processes).write_text(json.dumps({"pids": pids}))
        subprocess.run(processes.command(foreground=False), env=environment, check=True)
    Client(f"http://{processes.host}:{processes.port}").wait_until_healthy(120)
    print(f"up: http://{processes.host}:{processes.port}/docs   logs: {processes.log_paths}   make down stops it")
    if (processes.data_dir / "service.env").exists():
        print(f"the servers' addresses and passwords: {processes.data_dir / 'service.env'}")
        if needs_keys(os.environ, processes.host):
            print(f"requests have to show a key: {KEY} in that file, if `make up` has made it, or one by "
                  "`python -m infra.keys create` with the settings of that file")
    return 0


def down(processes: Processes) -> int:
    path = _state_path(processes)
    if not path.exists():
        print("it is not up")
        return 0
    state = json.loads(path.read_text())
    if state.get("compose"):
        subprocess.run(["docker", "compose", "-f", COMPOSE, "down"], check=True)
    else:
        if processes.pid_path.exists():
            _end(int(processes.pid_path.read_text()), group=False)
        for pid, started in reversed(state["pids"].values()):
            if start_time(pid) == started:  # else another process has the number by now
                _end(pid, group=True)
    path.unlink()
    print("down; the data is kept")
    return 0


def write_settings(path: Path, environment: dict[str, str]) -> None:
    """Write the servers' URLs, with their passwords, and the first key into a file that only its owner can read. What
    lies in a file of its own is named by that."""
    path.touch(mode=0o600)
    variables = [variable + end for variable in (*(variable for variable, _, _ in STARTERS.values()), TOKEN, AUTH, KEY)
                 for end in ("", "_FILE")]
    lines = [f"{variable}={shlex.quote(environment[variable])}\n" for variable in variables if variable in environment]
    path.write_text("".join(lines))


def _ways(text: str) -> list[str]:
    ways = [way for way in text.replace(",", " ").split() if way != "none"]
    if unknown := set(ways) - ARNS.keys():
        raise CannotSetUp(f"--events takes {', '.join(ARNS)} or none, and not {', '.join(sorted(unknown))}")
    return ways


def _possible(ways: list[str], environment: dict[str, str]) -> list[str]:
    """Without a broker there is one way less."""
    has_broker = _read(environment, "MODEL_CONVERT_QUEUE_URL").startswith("amqp")
    return [way for way in ways if way != "amqp" or has_broker]


def _events(processes: Processes, ways: list[str], environment: dict[str, str]) -> dict[str, str]:
    """What MinIO has to know in order to tell of uploads."""
    host = "127.0.0.1" if processes.host == "0.0.0.0" else processes.host
    possible = _possible(ways, environment)
    return ((amqp_environment(_read(environment, "MODEL_CONVERT_QUEUE_URL")) if "amqp" in possible else {})
            | (webhook_environment(f"http://{host}:{processes.port}/events/storage",
                                   _read(environment, TOKEN),
                                   processes.data_dir / "minio" / "events") if "webhook" in possible else {}))


def _read(environment: dict[str, str], variable: str) -> str:
    """Raises:
        WrongSettings.
    """
    try:
        return read_given(environment, variable) or ""
    except WrongSecretFile as error:
        raise WrongSettings(str(error)) from None


def _events_token(path: Path) -> str:
    """Made once; only its owner may read it."""
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text().strip()


def docker_engine_runs() -> bool:
    return shutil.which("docker") is not None and subprocess.run(
        ["docker", "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20).returncode == 0


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def start_time(pid: int) -> str:
    """When a process started, in ticks since boot: tells it from a later one with the same number. "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _state_path(processes: Processes) -> Path:
    return processes.data_dir / "up.json"


def _end(pid: int, *, group: bool, timeout_s: float = 40.0) -> None:
    """SIGTERM, and SIGKILL if it does not end in time."""
    send = os.killpg if group else os.kill
    with suppress(ProcessLookupError):
        send(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while start_time(pid) and time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.1)
        if start_time(pid):
            send(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
