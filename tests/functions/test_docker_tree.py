"""The functions as their Dockerfile lays them out: copied folders on PYTHONPATH, and no installed distribution."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from infra.servers.base import free_port
from tests.fixtures.services import Service

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "infra" / "docker" / "functions.Dockerfile"
START = "import runpy, sys; sys.argv[0] = 'gateway'; runpy.run_module('infra.gateway', run_name='__main__')"


@pytest.fixture
def base_url(tmp_path: Path) -> Iterator[str]:
    app, packages = tmp_path / "app", tmp_path / "packages"
    for source, target in re.findall(r"^COPY (\w+) (\w+)$", DOCKERFILE.read_text(), re.MULTILINE):
        shutil.copytree(ROOT / source, app / target, ignore=shutil.ignore_patterns("__pycache__"))
    packages.mkdir()
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if not re.match(r"(__editable__|_editable|model_convert)", installed.name) and installed.suffix != ".pth":
            (packages / installed.name).symlink_to(installed)
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{app}:{packages}", "HOME": str(tmp_path),
                   "MODEL_CONVERT_STORE_URL": f"sqlite:{tmp_path / 'tasks.db'}",
                   "MODEL_CONVERT_FILES_URL": f"file:{tmp_path / 'buckets'}"}
    with subprocess.Popen([sys.executable, "-S", "-c", START, "--port", str(port), "--processes", "1"], cwd=app,
                          env=environment) as gateway:
        try:
            url = f"http://127.0.0.1:{port}"
            Service.wait(lambda: gateway.poll() is not None or answers(url))
            yield url
        finally:
            gateway.terminate()


def answers(url: str) -> bool:
    try:
        return get(url, "/health").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def get(url: str, path: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request("GET", url + path, retries=False, timeout=60)


def test_the_documents_are_there_without_an_installed_distribution(base_url: str) -> None:
    document = get(base_url, "/openapi.json")
    assert document.status == 200, document.data
    assert document.json()["info"]["version"] == re.search('VERSION = "(.+)"', (
        ROOT / "shared/__init__.py").read_text()).group(1)
    assert "/tasks/create" in document.json()["paths"]
    for page in ("/docs", "/redoc"):
        assert get(base_url, page).status == 200


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project and project["dynamic"] == ["version"]
