"""Toolchains' environments: installed from their lock alone, whole or not at all, and found again by its digest."""
from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra import toolchains
from infra.servers.base import CannotStart
from shared.settings import get_settings
from worker.plan import Base, Environment, Located
from worker.stages.common import ONNX
from worker.toolchains import COMPLETE, environment_dir, find_toolchain

HERE = "tests.unit.test_toolchains_install:"
LOCATED: dict[str, Located | None] = {}
NO_PACKAGE = "a-package-that-debian-does-not-have"


def base() -> Base:
    return Base(Path(sys._base_executable))  # type: ignore[attr-defined]  # a virtual environment's own has no pip


def impossible_base() -> Base:
    return Base(Path(sys.executable), (NO_PACKAGE,))


def locate() -> Located | None:
    return LOCATED["it"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where toolchains go. Packages come from a folder and nowhere else: no index is asked, and no apt-get is found."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("MODEL_CONVERT_TOOLCHAINS_DIR", str(tmp_path / "toolchains"))
    get_settings.cache_clear()
    yield tmp_path / "toolchains"
    get_settings.cache_clear()


def make_wheel(folder: Path, version: str) -> str:
    """A package `tiny` with nothing but its version; the wheel's digest."""
    folder.mkdir(exist_ok=True)
    path, info = folder / f"tiny-{version}-py3-none-any.whl", f"tiny-{version}.dist-info/"
    files = {"tiny.py": f"VERSION = {version!r}\n", info + "METADATA": f"Name: tiny\nVersion: {version}\n",
             info + "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(info + "RECORD", "".join(f"{name},,\n" for name in [*files, info + "RECORD"]))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def make_environment(tmp_path: Path) -> Callable[..., Environment]:
    def make(name: str = "toy", version: str = "1.0", digest: str = "", **fields: object) -> Environment:
        right = make_wheel(tmp_path / "wheels", version)
        lock = tmp_path / f"{name}.lock"
        lock.write_text(f"tiny=={version} \\\n    --hash=sha256:{digest or right}\n")
        return Environment(name, str(lock), **{"tools": ("tiny",), **fields})

    return make


def told_by(python: Path, program: str) -> str:
    return subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_an_environment_holds_what_its_lock_names(folder, make_environment):
    environment = make_environment()
    assert find_toolchain(environment, folder) is None
    installed = toolchains.install(environment, folder)
    found = find_toolchain(environment, folder)
    assert found.interpreter == installed / "bin" / "python" and found.versions == {"tiny": "1.0"}
    assert found.digest == hashlib.sha256(Path(environment.requirements).read_bytes()).hexdigest()
    assert installed.name == f"toy-{found.digest[:12]}"
    assert told_by(found.interpreter, "import tiny; print(tiny.VERSION)") == "1.0"
    with pytest.raises(subprocess.CalledProcessError):
        told_by(found.interpreter, "import pydantic")  # nothing of the worker's own


def test_what_is_installed_is_left_alone(folder, make_environment):
    environment = make_environment()
    first = (toolchains.install(environment, folder) / COMPLETE).stat().st_mtime_ns
    assert (toolchains.install(environment, folder) / COMPLETE).stat().st_mtime_ns == first


def test_another_lock_is_another_environment_beside_the_first(folder, make_environment):
    old = make_environment()
    toolchains.install(old, folder)
    old_folder = environment_dir(old, folder)
    new = make_environment(version="2.0")
    assert find_toolchain(new, folder) is None
    assert toolchains.install(new, folder) != old_folder and old_folder.exists()
    assert find_toolchain(new, folder).versions == {"tiny": "2.0"}


def test_what_an_interrupted_installation_left_is_made_anew(folder, make_environment):
    environment = make_environment()
    left = environment_dir(environment, folder)
    (left / "bin").mkdir(parents=True)
    (left / "bin" / "python").write_text("#!/bin/false\n")
    (left / "rubbish").touch()
    assert find_toolchain(environment, folder) is None
    toolchains.install(environment, folder)
    assert not (left / "rubbish").exists()
    assert told_by(find_toolchain(environment, folder).interpreter, "import tiny; print(tiny.VERSION)") == "1.0"


def test_a_package_that_is_not_the_locked_one_is_not_installed(folder, make_environment):
    environment = make_environment(digest="0" * 64)
    with pytest.raises(subprocess.CalledProcessError):
        toolchains.install(environment, folder)
    assert find_toolchain(environment, folder) is None
    assert toolchains.install(make_environment(), folder)


def test_installing_at_once_installs_once(folder, make_environment, monkeypatch):
    environment, runs = make_environment(), []
    run = subprocess.run
    monkeypatch.setattr(toolchains.subprocess, "run", lambda *args, **options: runs.append(1) or run(*args, **options))
    with ThreadPoolExecutor(4) as pool:
        assert len({*pool.map(lambda _: toolchains.install(environment, folder), range(4))}) == 1
    assert len(runs) == 2  # the environment, and its packages


def test_what_the_interpreter_below_brings_is_told_and_stands_in_the_digest(folder, make_environment):
    environment = make_environment(base=HERE + "base", tools=("tiny", "pip"))
    installed = toolchains.install(environment, folder)
    found = find_toolchain(environment, folder)
    assert found.versions == {"tiny": "1.0", "pip": told_by(base().interpreter, "import pip; print(pip.__version__)")}
    assert found.digest != hashlib.sha256(Path(environment.requirements).read_bytes()).hexdigest()
    (installed / COMPLETE).write_text('{"pip": "0.1"}')  # as another machine's would be
    assert find_toolchain(environment, folder).digest != found.digest
    (installed / COMPLETE).write_text("")
    assert find_toolchain(environment, folder) is None, "a tool that nobody knows the version of"


def test_a_system_that_lacks_a_package_and_cannot_install_it_is_told(folder, make_environment):
    environment = make_environment(base=HERE + "impossible_base")
    with pytest.raises(CannotStart, match=NO_PACKAGE):
        toolchains.install(environment, folder)
    assert find_toolchain(environment, folder) is None


@pytest.fixture
def known(make_environment, monkeypatch) -> dict[str, Environment]:
    environments = {environment.name: environment for environment in (
        make_environment("bundled", bundled=True), make_environment("broken", base=HERE + "impossible_base"),
        make_environment("other"), Environment("vendors", locate=HERE + "locate"))}
    monkeypatch.setattr(toolchains, "environments", lambda: environments)
    return environments


def installed(known: dict[str, Environment], folder: Path) -> list[str]:
    return [name for name, environment in known.items()
            if environment.requirements and find_toolchain(environment, folder)]


def test_without_names_all_that_can_be_installed_are_and_one_failure_stops_no_other(folder, known, capsys):
    assert toolchains.main([]) == 1
    assert installed(known, folder) == ["bundled", "other"]
    told = capsys.readouterr()
    assert "broken cannot be installed" in told.err and NO_PACKAGE in told.err and "vendors" not in told.err


def test_bundled_ones_alone(folder, known):
    assert toolchains.main(["--bundled"]) == 0 and installed(known, folder) == ["bundled"]


def test_by_name(folder, known, capsys):
    assert toolchains.main(["other"]) == 0 and installed(known, folder) == ["other"]
    assert str(environment_dir(known["other"], folder)) in capsys.readouterr().out


@pytest.mark.parametrize(("names", "says"), [(["nothing"], "there are: bundled, broken, other, vendors"),
                                             (["other", "vendors"], "comes from its vendor")])
def test_what_cannot_be_installed_by_name_is_told_before_anything_is(folder, known, capsys, names, says):
    assert toolchains.main(names) == 2 and says in capsys.readouterr().err
    assert installed(known, folder) == []


def test_a_vendors_installation_is_found_where_it_is_with_its_versions(tmp_path):
    environment = Environment("vendors", locate=HERE + "locate")
    LOCATED["it"] = None
    assert find_toolchain(environment, tmp_path) is None
    LOCATED["it"] = Located(Path("/opt/v/python"), {"V_HOME": "/opt/v"}, {"vtool": "8.0"})
    found = find_toolchain(environment, tmp_path)
    assert (found.interpreter, found.variables) == (Path("/opt/v/python"), {"V_HOME": "/opt/v"})
    assert found.versions == {"vtool": "8.0"}
    LOCATED["it"] = Located(Path("/elsewhere/python"), {}, {"vtool": "8.0"})
    assert find_toolchain(environment, tmp_path).digest == found.digest
    LOCATED["it"] = Located(Path("/opt/v/python"), {}, {"vtool": "8.1"})
    assert find_toolchain(environment, tmp_path).digest != found.digest


def test_the_products_own_environments_are_all_known_and_the_shared_one_is_bundled():
    known = toolchains.environments()
    assert known[ONNX.name] is ONNX and ONNX.bundled
    assert all(bool(environment.requirements) != bool(environment.locate) for environment in known.values())
    assert not any(environment.bundled and environment.base for environment in known.values())
