"""How a target declares its stages. `worker/platforms/<name>/plan.py` has a `PLAN`; nothing else lists the targets."""
from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import worker.platforms
from shared.platforms.base import get_parameter

GIVEN = ("*",)  # of `only_for`: whatever value was sent
CORE = "core"  # runs inside the worker itself; every other environment is a toolchain's interpreter


@dataclass(frozen=True)
class Stage:
    """One step of a conversion.

    Its result depends on nothing but the code at `entry`, the environment's locked packages, `parameters` (names from
    the task's parameters) and the results of `inputs` (earlier stages): that is its key in the cache. `target` is part
    of the key unless the stage is `common` to all targets. A core stage that reads objects from the buckets has an
    `origin` ("package.module:function" of the files and the stage's parameters), which answers their versions for the
    key. Objects that only a finished run knows of are checked by `renewed` ("package.module:function" of the files, the
    parameters and a found result's facts): it answers None where the result still holds, else the versions of now.
    With `only_for` (a parameter and values, or `GIVEN`) it exists for tasks with one of these values alone. The name of
    a parameter within another has a dot: `verify.inputs`.

    A task that has recorded the stage keeps the result under later code too. So whoever changes what later stages read
    of its facts or files raises `form`: a record of another form is not taken, and the stage runs again.
    """

    name: str
    entry: str  # "package.module:function"
    environment: str
    inputs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    common: bool = False
    origin: str = ""
    renewed: str = ""
    only_for: tuple[str, tuple[str, ...]] | None = None
    weight: int = 1  # its share of the task's progress
    cached: bool = True  # False: acts on the outside world (publish), so it always runs
    form: int = 1  # of its result


@dataclass(frozen=True)
class Base:
    """An interpreter to build an environment on, for packages that no index has in a usable form.

    `system_packages` are Debian's names of what it takes from the system; they are installed where they are missing.
    """

    interpreter: Path
    system_packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Located:
    """A vendor's installation on this machine: an interpreter (3.8 or later) for its stages, the environment variables
    that it needs, and the versions of its tools, which stand in the cache keys."""

    interpreter: Path
    variables: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Environment:
    """An interpreter with a toolchain in it. `preload` are the modules that its host imports once, before any stage.

    Either we install it: `requirements` is its lock file relative to the project's root, `tools` the distributions
    whose versions are told, `base` ("package.module:function" that answers a `Base`) what it is built on, if not on
    our own interpreter; `bundled` ones come with `make demo` and `make serve`. Or the vendor did: `locate`
    ("package.module:function") answers a `Located`, or None.
    """

    name: str
    requirements: str = ""
    preload: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    base: str = ""
    bundled: bool = False
    locate: str = ""


@dataclass(frozen=True)
class Plan:
    """A target's stages in order, and the environment of its own toolchain."""

    platform: str
    environment: Environment
    stages: tuple[Stage, ...]

    def stages_for(self, parameters: dict[str, Any]) -> tuple[Stage, ...]:
        """The stages of a task with these parameters; those that it does not have are no inputs of the others."""
        stages = [stage for stage in self.stages
                  if stage.only_for is None or _is_one_of(get_parameter(parameters, stage.only_for[0]),
                                                          stage.only_for[1])]
        names = {stage.name for stage in stages}
        return tuple(replace(stage, inputs=tuple(name for name in stage.inputs if name in names)) for stage in stages)


def _is_one_of(value: Any, values: tuple[str, ...]) -> bool:
    return value is not None if values == GIVEN else value in values


def load_entry(entry: str) -> Any:
    """What "package.module:name" names."""
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)


@lru_cache(maxsize=1)
def get_plans() -> dict[str, Plan]:
    """Every target's plan by the target's name."""
    names = sorted(info.name for info in pkgutil.iter_modules(worker.platforms.__path__) if info.ispkg)
    return {name: importlib.import_module(f"worker.platforms.{name}.plan").PLAN for name in names}
