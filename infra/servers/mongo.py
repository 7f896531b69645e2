"""A server that speaks MongoDB's protocol, on loopback: `mongod` from the PATH, else mongo-java-server.

MongoDB itself cannot be had from the package registries. mongo-java-server (Maven, H2 backend) takes its place; it is
started by a launcher of our own (mongo_java_server/Launcher.java), which tells current drivers a version they accept
and makes acknowledged writes survive a crash.
"""
from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.servers import debian
from infra.servers.base import CannotStart, Log, Server, free_port, spawn, wait_until
from shared.settings import cache_home
from shared.store.mongo_connection import DEFAULT_DATABASE

SOURCES = Path(__file__).parent / "mongo_java_server"
PACKAGES = ["openjdk-17-jdk-headless", "maven"]
BUILD_TIMEOUT_S = 900

# Small machines: one collector thread, no optimising compiler. The heap grows only as far as the documents need.
JAVA_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xms16m", "-Xmx1536m",
                "-XX:+ExitOnOutOfMemoryError")


def start(data_dir: Path, *, port: int | None = None, log: Log = print) -> Server:
    """Start a server and return when it answers; its url names the default database.

    Data and log lie in `data_dir` and are used again by a later start there.

    Raises:
        CannotStart: there is neither program, nor can one be installed, or it does not come up.
    """
    mongod = shutil.which("mongod")
    if mongod is None:
        return start_java_server(data_dir, port=port, log=log)
    port = port or free_port()
    database = data_dir / "mongod"
    database.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [mongod, "--dbpath", database, "--bind_ip", "127.0.0.1", "--port", str(port),
                                 "--wiredTigerCacheSizeGB", "0.25", "--nounixsocket"]
    return _launch(command, data_dir, port, f"{mongod} (from the PATH)", log)


def start_java_server(data_dir: Path, *, port: int | None = None, log: Log = print) -> Server:
    """As `start`, whatever is on the PATH."""
    port = port or free_port()
    folder, java = install_java_server(log)
    data_dir.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [java, *JAVA_OPTIONS, "-cp", f"{folder}/classes:{folder}/jars/*", "Launcher",
                                 data_dir / "tasks.mv", str(port)]
    return _launch(command, data_dir, port, "mongo-java-server", log)


def install_java_server(log: Log) -> tuple[Path, str]:
    """The folder with the server's jars and the compiled launcher, and the `java` to run it; installed if need be.

    The folder is named by the digest of what it is made from, and several processes may ask for it at once.

    Raises:
        CannotStart: a JDK or Maven is missing and cannot be installed, or a step failed; with its output.
    """
    java, javac, maven = _find_tools(log)
    sources = [SOURCES / "pom.xml", SOURCES / "Launcher.java"]
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    cache = cache_home() / "mongo-java-server"
    folder = cache / digest
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            log("mongo: fetching mongo-java-server by Maven, once")
            with tempfile.TemporaryDirectory(dir=cache, prefix=".build-") as scratch:
                _build(Path(scratch) / "whole", maven, javac)
                os.rename(Path(scratch) / "whole", folder)
    return folder, java


def _build(folder: Path, maven: str, javac: str) -> None:
    jars, classes = folder / "jars", folder / "classes"
    jars.mkdir(parents=True)
    shutil.copy(SOURCES / "pom.xml", folder)  # Maven writes beside it
    _run([maven, "-q", "-B", "-f", folder / "pom.xml", "dependency:copy-dependencies", "-DincludeScope=runtime",
          f"-DoutputDirectory={jars}"])
    _run([javac, "-cp", f"{jars}/*", "-d", classes, SOURCES / "Launcher.java"])


def _find_tools(log: Log) -> list[str]:
    """`java`, `javac` and `mvn`, installed where Debian can and we may."""
    names = ("java", "javac", "mvn")
    if not all(map(shutil.which, names)):
        log("mongo: no mongod on the PATH, so mongo-java-server serves, which needs a JDK and Maven")
        debian.install(PACKAGES, log)
    return [shutil.which(name) or _fail(f"{name} is still not on the PATH") for name in names]


def _fail(why: str) -> str:
    raise CannotStart(why)


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=BUILD_TIMEOUT_S)
    if done.returncode:
        raise CannotStart(f"{Path(command[0]).name} failed with {done.returncode}:\n{done.stdout[-1500:]}")


def _launch(command: list[str | Path], data_dir: Path, port: int, how: str, log: Log) -> Server:
    """Run the server until it answers.

    Raises:
        CannotStart: the port is taken, or the server does not come up.
    """
    if _answers(port):
        raise CannotStart(f"port {port} of 127.0.0.1 is in use by another MongoDB")
    log_path = data_dir / "mongo.log"
    process = spawn(command, log_path)
    wait_until(lambda: _answers(port), process, "mongo", log_path)
    log(f"mongo: {how} listens on 127.0.0.1:{port}")
    return Server("mongo", f"mongodb://127.0.0.1:{port}/{DEFAULT_DATABASE}", how, process)


def _answers(port: int) -> bool:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    client: MongoClient[dict[str, Any]] = MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=200)
    with client, suppress(PyMongoError):
        client.admin.command("ping")
        return True
    return False
