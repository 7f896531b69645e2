"""Finding CANN: by its variables, on the PATH, at its usual place, or not at all."""
from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.standins.atc import VERSION, install
from worker.platforms.huawei import toolkit
from worker.platforms.huawei.plan import CANN
from worker.toolchains import find_toolchain


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is installed on the machine that runs the tests is not looked at."""
    for name in [name for name in os.environ if name.startswith("ASCEND")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(toolkit, "ROOTS", (tmp_path / "usual",))


def test_without_a_toolkit_there_is_none(tmp_path: Path) -> None:
    assert toolkit.locate() is None
    assert find_toolchain(CANN, tmp_path) is None


@pytest.mark.parametrize("name", ["ASCEND_HOME", "ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"])
@pytest.mark.parametrize("below", ["", "ascend-toolkit", "ascend-toolkit/latest"])
def test_a_variable_may_name_the_root_the_toolkit_or_its_latest_version(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, below: str) -> None:
    install(tmp_path / "some where")
    monkeypatch.setenv(name, str(tmp_path / "some where" / below))
    located = toolkit.locate()
    assert located is not None
    assert located.versions == {"cann": VERSION, "atc": "7.3.0.1.231"}
    assert shutil.which("atc", path=located.variables["PATH"]) == str(
        tmp_path / "some where" / "ascend-toolkit" / "latest" / "bin" / "atc")


def test_it_is_found_at_its_usual_place_and_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = install(tmp_path / "usual")
    assert toolkit.locate() is not None
    shutil.move(usual.parent, tmp_path / "elsewhere")
    assert toolkit.locate() is None
    monkeypatch.setenv("PATH", f"{tmp_path / 'elsewhere' / 'ascend-toolkit' / 'latest' / 'bin'}:/usr/bin:/bin")
    located = toolkit.locate()
    assert located is not None and located.variables["ASCEND_OPP_PATH"].startswith(str(tmp_path / "elsewhere"))


def test_an_environment_that_was_sourced_before_is_taken_without_the_script(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = install(tmp_path / "sourced") / "latest"
    (home.parent / "set_env.sh").unlink()
    monkeypatch.setenv("PATH", f"{home / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("ASCEND_OPP_PATH", str(home / "opp"))
    located = toolkit.locate()
    assert located is not None
    assert located.variables["ASCEND_OPP_PATH"] == str(home / "opp")
    assert located.versions["cann"] == VERSION


def test_stages_see_what_cann_needs_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = install(tmp_path / "ascend")
    monkeypatch.setenv("ASCEND_HOME", str(root))
    monkeypatch.setenv("MODEL_CONVERT_STORE_URL", "mongodb://user:secret@host/")
    located = toolkit.locate()
    assert located is not None
    home = str(root / "latest")
    assert {"PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "ASCEND_OPP_PATH", "ASCEND_TOOLKIT_HOME"} <= set(located.variables)
    assert "STANDIN_SECRET" not in located.variables and "MODEL_CONVERT_STORE_URL" not in located.variables
    # It would write its results there instead of the stage's own folder.
    assert "ASCEND_WORK_PATH" not in located.variables
    # Without a driver atc cannot be loaded but for these stubs; a real driver goes first.
    libraries = located.variables["LD_LIBRARY_PATH"].split(":")
    assert libraries == [f"{home}/lib64", f"{home}/{platform.machine()}-linux/devlib"]


def test_its_python_runs_the_stages_and_an_old_one_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = install(tmp_path / "ascend")
    monkeypatch.setenv("ASCEND_HOME", str(root))
    own = root / "latest" / "bin" / "python3"
    own.write_text('#!/bin/sh\nexec /usr/bin/env -S "$STANDIN_PYTHON" "$@"\n')
    own.chmod(0o755)
    located = toolkit.locate()
    assert located is not None and located.interpreter != own
    own.write_text(f'#!/bin/sh\nexec {shutil.which("python3")} "$@"\n')
    located = toolkit.locate()
    assert located is not None and located.interpreter == own
    assert subprocess.run([located.interpreter, "-c", "print(1)"], check=True, capture_output=True).stdout == b"1\n"


def test_another_version_is_another_toolchain_even_where_it_does_not_tell_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = install(tmp_path / "ascend")
    monkeypatch.setenv("ASCEND_HOME", str(root))

    def digest() -> str:
        toolchain = find_toolchain(CANN, tmp_path)
        assert toolchain is not None
        return toolchain.digest

    seen = [digest()]
    (info,) = root.rglob("ascend_toolkit_install.info")
    info.write_text(info.read_text().replace(VERSION, "8.1.RC1"))
    seen.append(digest())
    info.unlink()
    (root / "latest" / "compiler" / "version.info").unlink()
    seen.append(digest())
    (root / "latest" / "bin" / "atc").write_text("#!/bin/sh\n")
    seen.append(digest())
    assert len(set(seen)) == 4


def test_a_script_that_fails_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = install(tmp_path / "ascend")
    monkeypatch.setenv("ASCEND_HOME", str(root))
    (root / "set_env.sh").write_text("return 3\n")
    assert toolkit.locate() is None
