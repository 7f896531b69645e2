"""The servers of `make test` end with it, however it ends."""
from __future__ import annotations

import json
import socket
import subprocess
import sys
from urllib.parse import urlsplit

from tests.fixtures.common import missing

HOLD = """
import json, time
from tests.suites import shared_servers
with shared_servers() as servers:
    print("servers", json.dumps(servers), flush=True)
    time.sleep(600)
"""


def listens(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        probe.settimeout(60)
        return probe.connect_ex((parts.hostname, parts.port)) == 0


def test_a_run_that_is_told_to_end_leaves_no_server_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as run:
        servers = next(json.loads(line.partition(" ")[2]) for line in run.stdout if line.startswith("servers "))
        urls = [server["url"] for server in servers.values()]
        there = [listens(url) for url in urls]
        run.terminate()
        assert run.wait(120) == 143
    if not urls:
        missing("a server", "none could be started")
    assert all(there) and not any(listens(url) for url in urls)
