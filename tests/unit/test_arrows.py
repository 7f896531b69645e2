"""The arrows of the architecture, read from the imports themselves: functions -> shared <- worker, infra sees all."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.platforms import get_platforms
from worker.plan import CORE, get_plans

ROOT = Path(__file__).resolve().parents[2]
PIECES = ("functions", "shared", "worker", "infra")
MAX_LINES = 400
FORBIDDEN = {
    "functions": {"worker", "infra", "functions", "tests"},
    "shared": {"worker", "infra", "functions", "tests"},
    "worker": {"infra", "functions", "tests"},
    "infra": {"tests"},
}
HEAVY = {"onnx", "onnxruntime", "openvino", "numpy"}
# Whose code names targets: theirs, and nobody else's.
OWN_PLACES = ("shared/platforms/", "worker/platforms/", "tests/", "docs/")
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
          "asyncio.create_subprocess_shell"}
CHILD_MAY = {"worker.stage_api", "worker.stages", "shared.rules"}


def files(*pieces: str) -> list[Path]:
    return [path for piece in pieces for path in sorted((ROOT / piece).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """The full name of every module that a file imports, at its top or inside a function."""
    package = ".".join(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([package.rsplit(".", node.level - 1)[0], node.module or ""]).strip(".") if node.level else (
                node.module or "")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def with_imports(modules: set[str]) -> list[Path]:
    """The files of these modules and of what they import from the project, however deep."""
    waiting, found = set(modules), {}
    while waiting:
        module = waiting.pop()
        path = ROOT / (module.replace(".", "/") + ".py")
        if module not in found and path.exists():
            found[module] = path
            waiting |= {name for name in imports(path) if name.partition(".")[0] in PIECES}
    return list(found.values())


def child_modules() -> list[Path]:
    """The modules that run under a toolchain's interpreter: those of the plans' stages that are not the core's."""
    return with_imports({stage.entry.partition(":")[0] for plan in get_plans().values() for stage in plan.stages
                         if stage.environment != CORE})


@pytest.mark.parametrize("piece", PIECES)
def test_a_piece_imports_only_what_its_arrows_allow(piece: str) -> None:
    wrong = [f"{relative(path)} imports {name}" for path in files(piece) for name in imports(path)
             if name.partition(".")[0] in FORBIDDEN[piece]]
    assert files(piece) and not wrong


def test_only_the_http_side_knows_what_answers_http() -> None:
    """`shared.api` is for the functions and the gateway."""
    wrong = [f"{relative(path)} imports {name}" for path in files("worker", "shared") for name in imports(path)
             if (name + ".").startswith("shared.api.") and not relative(path).startswith("shared/api/")]
    assert not wrong


def test_only_what_answers_http_knows_flask() -> None:
    wrong = [f"{relative(path)} imports {name}" for path in files("worker", "shared") for name in imports(path)
             if name.partition(".")[0] in ("flask", "werkzeug") and not relative(path).startswith("shared/api/")]
    assert not wrong


def test_shared_and_functions_know_no_model_library() -> None:
    wrong = [f"{relative(path)} imports {name}" for path in files("shared", "functions") for name in imports(path)
             if name.partition(".")[0] in HEAVY]
    assert not wrong


def test_what_runs_under_a_toolchains_interpreter_imports_nothing_of_the_core() -> None:
    """Neither does it import a distribution that only the core has: the toolchains' environments hold none of them."""
    core_only = {"pydantic", "pydantic_core", "flask", "pika", "pymongo", "minio", "psutil", "pythonjsonlogger"}
    modules = child_modules()
    wrong = []
    for path in modules:
        own_package = ".".join(path.relative_to(ROOT).parts[:-1])
        for name in imports(path):
            top = name.partition(".")[0]
            allowed = top in sys.stdlib_module_names or (top not in PIECES and top not in core_only) or any(
                name == may or name.startswith(may + ".") for may in CHILD_MAY | {own_package}) or name == "worker"
            if not allowed:
                wrong.append(f"{relative(path)} imports {name}")
    assert len(modules) >= 4 and not wrong


def test_what_runs_beside_any_toolchain_or_parses_uploads_is_standard_library_only() -> None:
    modules = with_imports({"worker.toolhost", "worker.stage_api", "shared.rules.shapes", "shared.rules.models",
                            "shared.rules.calibration", "shared.rules.onnx.facts", "shared.preflight.child",
                            "shared.preflight.arrays", "shared.preflight.archives"})
    wrong = [f"{relative(path)} imports {name}" for path in modules for name in imports(path)
             if name.partition(".")[0] not in sys.stdlib_module_names | {"worker"}
             and not name.startswith(("shared.preflight", "shared.rules"))]
    assert len(modules) >= 10 and not wrong


def test_no_command_is_handed_to_a_shell_as_text() -> None:
    """What clients send reaches programs as arguments, where no character means anything else."""
    calls = [(path, node) for path in files(*PIECES) for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Call)]
    wrong = [f"{relative(path)}:{call.lineno}" for path, call in calls if ast.unparse(call.func) in SHELLS
             or any(keyword.arg == "shell" for keyword in call.keywords)]
    assert not wrong


def test_no_file_has_more_than_400_lines() -> None:
    long = {relative(path): count for path in files(*PIECES, "tests")
            if (count := len(path.read_text().splitlines())) > MAX_LINES}
    assert not long


def test_a_targets_name_occurs_in_its_own_places_only() -> None:
    """In no kind of file: a name in JSON or a Makefile has to be followed by hand just as one in Python."""
    names = {word for target in get_platforms().values() for word in (target.name, *target.task_types)}
    words = re.compile(r"(?<![a-z0-9])(" + "|".join(map(re.escape, names)) + r")(?![a-z0-9])", re.IGNORECASE)
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    elsewhere = [name for name in tracked.split("\0") if name and not name.startswith(OWN_PLACES)
                 and not name.endswith((".md", ".lock"))]
    wrong = [f"{name}:{number}: {line.strip()}" for name in elsewhere if (ROOT / name).exists()
             for number, line in enumerate((ROOT / name).read_text().splitlines(), 1) if words.search(line)]
    assert names and len(elsewhere) > 100 and not wrong


def test_each_target_has_both_halves() -> None:
    assert list(get_platforms()) == list(get_plans())
