"""Where the vendor's interpreter is found, and what it is asked. The interpreters are real, their MagicMind is a
stand-in."""
from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from tests.standins.magicmind_interpreter import make_interpreter, make_monitor
from worker.platforms.cambricon import toolkit


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_interpreter(tmp_path_factory.mktemp("vendor"))


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that has none of it: no Neuware folder, no MLU, no vendor's interpreter on the PATH."""
    toolkit._locate.cache_clear()
    for name in (*toolkit.PASSED_ON, toolkit.PYTHON, "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(toolkit.NEUWARE, str(tmp_path / "nowhere"))
    monkeypatch.setattr(toolkit, "USUAL", ("python3",))


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def test_a_machine_without_magicmind_does_not_serve_the_target_and_nothing_is_said(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    plain = make_interpreter(tmp_path / "plain", with_magicmind=False)
    monkeypatch.setenv("PATH", f"{plain.parent}:{os.environ['PATH']}")
    (plain.parent / "python3").unlink(missing_ok=True)
    (plain.parent / "python3").symlink_to(plain)
    with caplog.at_level(logging.INFO):
        assert toolkit.locate() is None
    assert not caplog.records


def test_the_images_own_python3_is_found(vendor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{vendor.parent}:{os.environ['PATH']}")
    located = toolkit.locate()
    assert located and located.interpreter == vendor.parent / "python3"
    assert located.versions == {"magicmind": "1.7.0", "mlu": "none"}
    assert located.variables == {toolkit.MLU: "none"}


def test_the_interpreter_that_is_named_is_taken_and_its_libraries_are_found(
        vendor: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    neuware, compiler = tmp_path / "neuware", tmp_path / "gcc-linaro-6.2.1"
    (neuware / "lib64").mkdir(parents=True)
    compiler.mkdir()
    for name, value in {toolkit.PYTHON: str(vendor), toolkit.NEUWARE: str(neuware), "LD_LIBRARY_PATH": "/lib/other",
                        toolkit.REMOTE: "mlu-server:9009", toolkit.CROSS_COMPILER: str(compiler)}.items():
        monkeypatch.setenv(name, value)
    located = toolkit.locate()
    assert located and located.interpreter == vendor
    assert located.variables[toolkit.NEUWARE] == str(neuware)
    assert located.variables["LD_LIBRARY_PATH"] == f"{neuware}/lib64:/lib/other"
    assert located.variables[toolkit.REMOTE] == "mlu-server:9009"
    assert located.versions["cross_compiler"] == "gcc-linaro-6.2.1"  # what it links with changes the artefact


@pytest.mark.parametrize(("card", "mlu"), [("MLU370", "MLU370"), ("", "unknown")])
def test_an_mlu_is_part_of_the_versions_since_results_depend_on_it(
        vendor: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, card: str, mlu: str) -> None:
    monkeypatch.setenv(toolkit.PYTHON, str(vendor))
    monkeypatch.setenv("PATH", f"{make_monitor(tmp_path / 'bin', card)}:{os.environ['PATH']}")
    monkeypatch.setattr(toolkit, "clean_environment", lambda _: {"STANDIN_MLU_DEVICES": "1"})
    located = toolkit.locate()
    assert located and located.versions["mlu"] == located.variables[toolkit.MLU] == mlu


def test_one_that_is_named_and_cannot_import_magicmind_is_an_error_in_the_workers_log(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    monkeypatch.setenv(toolkit.PYTHON, str(make_interpreter(tmp_path / "plain", with_magicmind=False)))
    assert toolkit.locate() is None
    assert "No module named 'magicmind'" in caplog.text


@pytest.mark.parametrize(("told", "complaint"), [
    ("""echo '{"python": [3, 7], "magicmind": "0.13.1", "devices": 0}'""", "Python 3.7; stages need 3.8"),
    ("""echo '{"python": [3, 8], "magicmind": null, "devices": 0}'""", "version"),
    ("kill -SEGV $$", "crashes at the import"),
    ("exit 0", "crashes at the import"),
    ("sleep 60", "no answer within 0.3 s"),
])
def test_an_interpreter_that_will_not_do_is_told_with_its_reason(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told: str,
        complaint: str) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(toolkit, "TIMEOUT_S", 0.3 if "sleep" in told else 30.0)
    monkeypatch.setenv(toolkit.PYTHON, str(script(tmp_path / "python", told.replace("sleep", "exec sleep"))))
    assert toolkit.locate() is None
    assert complaint in caplog.text


def test_it_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = tmp_path / "count"
    monkeypatch.setenv(toolkit.PYTHON, str(script(
        tmp_path / "python", f"""echo x >> {count}; echo '{{"python": [3, 8], "magicmind": "1.0", "devices": 0}}'""")))
    assert toolkit.locate() == toolkit.locate() is not None
    assert count.read_text() == "x\n"
