"""How a target declares its stages. `worker/platforms/<name>/plan.py` has a `PLAN`; nothing else lists the targets."""
from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import lru_cache

import worker.platforms

CORE = "core"  # runs inside the worker itself; every other environment is a toolchain's interpreter


@dataclass(frozen=True)
class Stage:
    """One step of a conversion.

    Its result depends on nothing but the code at `entry`, the environment's locked packages, `parameters` (names from
    the task's parameters) and the results of `inputs` (earlier stages): that is its key in the cache. `target` is part
    of the key unless the stage is `common` to all targets.
    """

    name: str
    entry: str  # "package.module:function"
    environment: str
    inputs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    common: bool = False
    weight: int = 1  # its share of the task's progress
    cached: bool = True  # False: acts on the outside world (publish), so it always runs


@dataclass(frozen=True)
class Environment:
    """An interpreter with a toolchain in it. `requirements` is its lock file, relative to the project's root;
    `preload` are the modules that its host imports once, before any stage."""

    name: str
    requirements: str
    preload: tuple[str, ...]
    tools: tuple[str, ...]  # distributions whose versions are told


@dataclass(frozen=True)
class Plan:
    """A target's stages in order, and the environment of its own toolchain."""

    platform: str
    environment: Environment
    stages: tuple[Stage, ...]


@lru_cache(maxsize=1)
def get_plans() -> dict[str, Plan]:
    """Every target's plan by the target's name."""
    names = sorted(info.name for info in pkgutil.iter_modules(worker.platforms.__path__) if info.ispkg)
    return {name: importlib.import_module(f"worker.platforms.{name}.plan").PLAN for name in names}
