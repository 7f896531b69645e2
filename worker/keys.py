"""A stage's key in the cache: the hash of everything that goes into its result."""
from __future__ import annotations

import ast
import hashlib
import re
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from shared.digests import canonical_digest
from worker.plan import Stage
from worker.toolchains import ROOT

# What a stage's code may import from the project, beside its own folder. A test holds that it imports nothing else.
SHARED_CODE = ("worker.stages", "worker.stage_api", "shared.rules")
# With one of these a module may run code that its imports do not name.
UNCERTAIN = {"import_module", "__import__", "exec", "eval", "run_module", "run_path"}

# Python 3.11 counts the depth of a tree for all threads together: two that parse at once raise SystemError.
_PARSING = threading.Lock()
_KEY = re.compile("[0-9a-f]{64}(?:-([1-9][0-9]{0,8}))?")


@lru_cache(maxsize=128)
def code_digest(entry: str) -> str:
    """SHA-256 over the sources that a stage's result may depend on; `entry` is "package.module:function".

    These are the entry's module and what it imports, however deep, from the shared stages, the stage API and the rules;
    and all of a target's own folder, since targets start some of their modules by name. A module whose imports cannot
    be read off its source makes all shared code count. So an edit makes cold the keys of the stages that can notice it.
    """
    module = entry.partition(":")[0]
    package = module.rpartition(".")[0]
    own = [] if package in SHARED_CODE else sorted((ROOT / package.replace(".", "/")).glob("*.py"))
    digest = hashlib.sha256()
    for source in sorted(_closure([_source(module), *own])):
        digest.update(source.relative_to(ROOT).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def _closure(first: list[Path]) -> set[Path]:
    waiting, found = list(first), set()
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting += _imported(source)
    return found


@lru_cache(maxsize=512)
def _imported(source: Path) -> tuple[Path, ...]:
    """The sources of shared code that a module imports, at its top or inside a function, with their packages' own."""
    text = source.read_text(encoding="utf-8")
    with _PARSING:
        tree = ast.parse(text, str(source))
    called = {node.id if isinstance(node, ast.Name) else node.attr for node in ast.walk(tree)
              if isinstance(node, (ast.Name, ast.Attribute))}
    if called & UNCERTAIN:
        return tuple(path for name in SHARED_CODE for path in _everything(name))
    names = {name for name in _names(tree, source) if name in SHARED_CODE or name.startswith(
        tuple(f"{shared}." for shared in SHARED_CODE))}
    names |= {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count("."))}
    return tuple(path for name in sorted(names) if (path := _source(name)).exists())


def _names(tree: ast.Module, source: Path) -> Iterator[str]:
    package = source.relative_to(ROOT).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[:len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _source(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _everything(name: str) -> list[Path]:
    path = ROOT / name.replace(".", "/")
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def stage_key(stage: Stage, target: str, toolchain: str | None, parameters: dict[str, Any], inputs: Any,
              tenant: str | None = None) -> str:
    """`tenant` is the one that alone may use the result; None: all may, as before there were tenants.

    `toolchain` is the digest of the environment's lock file, `inputs` the output digests of the stages it reads, or
    the versions of the objects. The key shows the form of the result, if that is not the first one."""
    digest = canonical_digest({"stage": stage.name, "target": None if stage.common else target,
                               "code": code_digest(stage.entry), "toolchain": toolchain, "parameters": parameters,
                               "inputs": inputs} | ({} if tenant is None else {"tenant": tenant}))
    return digest if stage.form == 1 else f"{digest}-{stage.form}"


def form_of(key: str) -> int | None:
    """The form of the result that a recorded key addresses; None where the text is no key."""
    found = _KEY.fullmatch(key)
    return int(found[1] or 1) if found else None
