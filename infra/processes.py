"""Keeps the gateway and the workers alive as one: a supervisord with a configuration of its own."""
from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from shared.secret_files import is_given

LOG = ("maxbytes=20MB", "backups=3")  # of each log; then it begins anew, and the oldest part goes


@dataclass(frozen=True)
class Processes:
    """What runs below `data_dir`: one gateway on host:port and `workers` workers."""

    data_dir: Path
    host: str
    port: int
    workers: int

    @property
    def pid_path(self) -> Path:
        return self.data_dir / "supervisor.pid"

    @property
    def log_paths(self) -> Path:
        """A pattern of the background's logs: one for the gateway, one for each worker."""
        return self.data_dir / "*.log"

    def command(self, *, foreground: bool) -> list[str]:
        """The supervisor's command; writes its configuration. In the background each process has a log of its own, of
        `LOG` at most with the older parts beside it; in the foreground all of them write to our output."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        configuration = self.data_dir / "supervisor.conf"
        configuration.write_text(self._configuration(foreground))
        return [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration),
                *(["--nodaemon", "--silent"] if foreground else [])]

    def _configuration(self, foreground: bool) -> str:
        python = shlex.quote(sys.executable)
        gateway = f"{python} -m infra.gateway --host {self.host} --port {self.port}"
        common = "redirect_stderr=true\nautorestart=true\nstartsecs=2\nstartretries=20\nkillasgroup=true\n"

        def log(name: str) -> str:
            if foreground:
                return "stdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0\n"
            path = str(self.data_dir).replace("%", "%%")  # supervisor expands this one twice
            return f"stdout_logfile={path}/{name}\n" + "".join(f"stdout_logfile_{line}\n" for line in LOG)

        text = (f"[supervisord]\npidfile={self.pid_path}\nlogfile={self.data_dir / 'supervisor.log'}\n"
                + "".join(f"logfile_{line}\n" for line in LOG) +
                f"childlogdir={self.data_dir}\nuser={os.getuid()}\n\n"
                f"[program:gateway]\ncommand={gateway}\nstopwaitsecs=10\n{log('gateway.log')}{common}\n"
                f"[program:worker]\ncommand={python} -m worker\nnumprocs={self.workers}\n"
                f"process_name=worker-PROCESS_NUM\nstopwaitsecs=30\n{log('worker-PROCESS_NUM.log')}{common}")
        return text.replace("%", "%%").replace("PROCESS_NUM", "%(process_num)d")  # a % in a path is no expansion


def embedded_environment(data_dir: Path) -> dict[str, str]:
    """The settings of the embedded profile below `data_dir`; what the environment already names stays as it is, a file
    with a URL too."""
    defaults = {
        "MODEL_CONVERT_STORE_URL": f"sqlite:{data_dir / 'tasks.db'}",
        "MODEL_CONVERT_QUEUE_URL": "poll:",
        "MODEL_CONVERT_FILES_URL": f"file:{data_dir / 'buckets'}",
        "MODEL_CONVERT_CACHE_DIR": str(data_dir / "stages"),
        "MODEL_CONVERT_WORK_DIR": str(data_dir / "work"),
    }
    return {name: value for name, value in defaults.items() if not is_given(os.environ, name)} | dict(os.environ)
