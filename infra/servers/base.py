"""What `infra.servers.{mongo,rabbitmq,minio}` share: a started server, and the error that says why there is none.

Each of the modules has `start(data_dir, *, port=None, log=print) -> Server`. It takes a program from the PATH, or else
installs or builds it, which `log` reports. It starts the program as a child, with its own data directory and its own
port on loopback, and returns when the program answers.
"""
from __future__ import annotations

import errno
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Log = Callable[[str], None]
LOG_BYTES = 16 << 20


class CannotStart(Exception):
    """The server can be neither found nor installed nor started here. The text says why, and what would help."""


@dataclass
class Server:
    """A running server. `url` is in the form that the settings take; `how` says which program it is, for people."""

    name: str
    url: str
    how: str
    process: subprocess.Popen[bytes]

    def stop(self, timeout_s: float = 20.0) -> None:
        """SIGTERM to the server's process group, SIGKILL if it does not end in time."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the server's process group, as a crash would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    """A port on loopback that nobody else gets for the next minute, and no connection ever.

    It lies below the ports that the kernel gives to connections (ip(7), ip_local_port_range): else a client that calls
    a server which has stopped can take the server's port itself. A connection to it is left in TIME_WAIT (tcp(7)):
    nobody else who looks for a free port binds it then, while a server that binds it with SO_REUSEADDR, as servers do,
    may have it.
    """
    while True:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", random.choice(_PORTS)))
                # After the bind, which so refuses what somebody else has. The kernel lets a server with this option
                # have the port only if what is left in TIME_WAIT has it too.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.listen(1)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            with socket.create_connection(listener.getsockname()) as client:
                accepted, _ = listener.accept()
                accepted.close()  # the side that closes first keeps the port
                client.recv(1)
            return listener.getsockname()[1]


def _ports() -> range:
    """Those of servers that need no privilege. Where connections may have all of them, the kernel picks one."""
    try:
        end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        end = 32768
    return range(10_000, end) if end > 11_000 else range(1)


_PORTS = _ports()


def spawn(command: list[str | Path], log_path: Path, env: dict[str, str] | None = None,
          cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a server in its own process group, its output in `log_path`. What earlier runs have left there is set aside
    when it is long; the log before that goes."""
    with suppress(FileNotFoundError):
        if log_path.stat().st_size > LOG_BYTES:
            log_path.replace(log_path.with_name(f"{log_path.name}.old"))
    with log_path.open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=cwd,
                                start_new_session=True)


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log_path: Path,
               timeout_s: float = 180.0) -> None:
    """Return when `ready()` holds: within seconds, on a busy machine ten times later. Where it does not come to that,
    Ctrl-C included, the whole group is killed.

    Raises:
        CannotStart: the process ended, or it was not ready in time; with the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    try:
        while not ready():
            if process.poll() is not None or time.monotonic() >= deadline:
                code = process.poll()
                why = f"not ready in {timeout_s:.0f} s" if code is None else f"ended with {code}"
                tail = log_path.read_text(errors="replace")[-1500:]
                raise CannotStart(f"{name} {why}; the end of {log_path.name}:\n{tail}")
            time.sleep(0.05)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
