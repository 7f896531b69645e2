"""/docs and /redoc as a browser shows them, on a machine without internet."""
from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from infra.gateway import load_functions
from infra.servers.base import Server
from tests.fixtures.common import missing

# Whatever the browser itself would like to ask its maker, no name resolves.
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-default-apps",
         "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--window-size=1300,6000",
         "--virtual-time-budget=10000"]


def render(url: str, folder: Path) -> tuple[str, set[str]]:
    """The page's DOM after its scripts have run, and the hosts that its own requests went to, or would have."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        missing("chromium", "it is not on the PATH")
    log = folder / "net.json"
    dom = subprocess.run([browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}",
                          "--dump-dom", url], capture_output=True, text=True, check=True, timeout=120).stdout
    recorded = json.loads(log.read_text())
    start = recorded["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requested = [event["params"] for event in recorded["events"] if event["type"] == start and "params" in event]
    # The browser's own requests have no page as their initiator.
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    return dom, {urlsplit(params["url"]).netloc for params in requested if params.get("initiator") == origin}


@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_the_page_shows_every_operation_and_asks_no_other_host(gateway: Server, tmp_path: Path, page: str) -> None:
    dom, hosts = render(f"{gateway.url}/{page}", tmp_path)
    for function in load_functions().values():
        shown = dom.replace("\u200b", "").replace("<wbr>", "")  # Swagger UI lets long paths break at each slash
        assert function.endpoint.path in shown, function.endpoint.path
        assert function.endpoint.title.zh in shown
    assert hosts == {urlsplit(gateway.url).netloc}


def test_the_pages_forbid_the_browser_to_ask_other_hosts(gateway: Server) -> None:
    for page in ("docs", "redoc"):
        answer = requests.get(f"{gateway.url}/{page}", timeout=60)
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "://" not in answer.text


def test_no_asset_leads_out_of_its_folder(gateway: Server) -> None:
    for path in ("/docs/assets/../__init__.py", "/docs/assets/%2e%2e/__init__.py", "/docs/assets//etc/passwd",
                 "/docs/assets/nothing.js"):
        assert requests.get(gateway.url + path, timeout=60).status_code == 404
