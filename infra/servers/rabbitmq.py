"""A RabbitMQ node of our own: Debian's package or what is installed, with its own name, ports, cookie and data."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infra.servers.base import CannotStart, Log, Server, free_port, spawn, wait_until
from infra.servers.debian import install
from shared.queue.topology import POLICY, QUEUE_BYTES

SCRIPTS = Path("/usr/lib/rabbitmq/bin")  # Debian: the wrapper on the PATH would switch to another user
NODE = "mc@localhost"  # the same for every node, so that data stays usable on another port; epmd is not shared

# No shell on stdin; other nodes on loopback only. The node shares its machine: few threads that sleep while they wait
# (Erlang's would spin).
ERL_ARGS = ("-noinput -kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +SDcpu 1:1 +SDio 4 +A 8 "
            "+sbwt none +sbwtdcpu none +sbwtdio none")


class Node(Protocol):
    """`env` is what the command line tools need in order to find the node."""

    @property
    def env(self) -> dict[str, str]: ...


@dataclass
class RabbitServer(Server):
    """A running node; `env` is what its command line tools need in order to find it."""

    env: dict[str, str]


def start(data_dir: Path, *, port: int | None = None, consumer_timeout_ms: int | None = None,
          more: Sequence[str] = (), log: Log = print) -> RabbitServer:
    """Start a node and return when it accepts connections; its url ends in the default virtual host.

    Data, logs and the cookie lie in `data_dir` and are used again by a later start there. `consumer_timeout_ms`: how
    long a delivery may stay unacknowledged (RabbitMQ's default: 30 minutes). `more`: lines of its configuration.

    Raises:
        CannotStart: it is not installed and cannot be, or it does not come up.
    """
    scripts = _find()
    if scripts is None:
        install(["rabbitmq-server"], log)
        scripts = _find()
    if scripts is None:
        raise CannotStart("rabbitmq-server is not on the PATH, although its package is installed")
    port = port or free_port()
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    env = _environment(data_dir, scripts)
    _configure(data_dir, port, consumer_timeout_ms, more)
    if consumer_timeout_ms is not None:  # otherwise a channel looks once a minute how old its deliveries are
        env["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] += " -rabbit channel_tick_interval 1000"
    log_path = data_dir / "rabbitmq.out"
    # epmd (Erlang's name server) would daemonize itself and leave our process group; started here, it stays in it.
    command = 'epmd & until epmd -names; do sleep 0.05; done; exec "$0"'
    process = spawn(["/bin/sh", "-c", command, scripts / "rabbitmq-server"], log_path, env=env, cwd=data_dir)
    url = f"amqp://guest:guest@127.0.0.1:{port}/"
    wait_until(lambda: _answers(url), process, "rabbitmq", log_path)
    how = f"{scripts}/rabbitmq-server"
    log(f"rabbitmq: {how} listens on 127.0.0.1:{port}")
    return RabbitServer("rabbitmq", url, how, process, env)


def rabbitmqctl(node: Node, *args: str, timeout_s: float = 180.0) -> str:
    """Run `rabbitmqctl ARGS…` against the node; what it printed.

    Raises:
        subprocess.CalledProcessError: the node refused; the error holds its output.
    """
    return subprocess.run([Path(node.env["RABBITMQ_SCRIPTS_DIR"]) / "rabbitmqctl", "--quiet", *args], check=True,
                          env=node.env, capture_output=True, text=True, timeout=timeout_s).stdout


def limit_arguments(max_bytes: int = QUEUE_BYTES, vhost: str = "/") -> list[str]:
    """The arguments of `rabbitmqctl` that limit our queues, those that exist included."""
    limits = json.dumps({"max-length-bytes": max_bytes})
    return ["set_policy", "--vhost", vhost, "--apply-to", "queues", *POLICY, limits]


def _find() -> Path | None:
    """The folder with RabbitMQ's scripts."""
    found = shutil.which("rabbitmq-server", path=os.pathsep.join([str(SCRIPTS), os.environ.get("PATH", os.defpath)]))
    return Path(found).resolve().parent if found else None


def _environment(data_dir: Path, scripts: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    epmd_dirs = sorted(Path("/usr/lib/erlang").glob("erts-*/bin"))
    return {
        **kept,
        "PATH": os.pathsep.join([kept.get("PATH", os.defpath), *map(str, epmd_dirs)]),
        "LANG": kept.get("LANG", "C.UTF-8"),
        "HOME": str(data_dir),  # the cookie's place
        "RABBITMQ_SCRIPTS_DIR": str(scripts),
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_CONF_ENV_FILE": str(data_dir / "rabbitmq-env.conf"),  # not there: the machine's own is not read
        "RABBITMQ_CONFIG_FILE": str(data_dir / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(data_dir / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(data_dir / "mnesia"),
        "RABBITMQ_LOG_BASE": str(data_dir / "log"),
        "RABBITMQ_ALLOW_INPUT": "1",  # the script then becomes the node instead of watching over it
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERL_ARGS,
        "ERL_FLAGS": "-start_epmd false",
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }


def _configure(data_dir: Path, port: int, consumer_timeout_ms: int | None, more: Sequence[str]) -> None:
    lines = [f"listeners.tcp.1 = 127.0.0.1:{port}", "log.file.level = warning", "log.console = false",
             "log.file.rotation.size = 10485760", "log.file.rotation.count = 3", *more]
    if consumer_timeout_ms is not None:
        lines.append(f"consumer_timeout = {consumer_timeout_ms}")
    (data_dir / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
    (data_dir / "enabled_plugins").write_text("[].\n")


def _answers(url: str) -> bool:
    import pika
    from pika.exceptions import AMQPError
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = 10.0
    with suppress(AMQPError, OSError):
        pika.BlockingConnection(parameters).close()
        return True
    return False
