"""Rules: which objects start conversions, and which conversions. One TOML file has them; `rule_file` reads it."""
from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from shared.access.places import TENANT
from shared.creation.requests import MAX_TARGETS
from shared.documents import Priority
from shared.platforms import get_platforms
from shared.platforms.base import Platform
from shared.schema import CallbackText, JsonObject, Labels, Name, StrictModel, wrong

BUILT_IN = "models-in"  # the built-in rule's name and bucket


def _table(value: Any) -> Any:
    """A target's name alone stands for the target with nothing else said of it."""
    return {"platform": value} if isinstance(value, str) else value


class Target(StrictModel):
    """`task_type` is the target's first where it is left out. `parameters` are over the rule's, name by name."""

    platform: Name
    task_type: Name | None = None
    parameters: JsonObject = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_known(self) -> Target:
        find_platform(self.platform, self.task_type)
        return self

    @property
    def label(self) -> str:
        """The folder that keeps the results of one of several targets apart: its name, and its chip's."""
        chip = self.parameters.get("chip")
        return f"{self.platform}-{chip}" if isinstance(chip, str) else self.platform


AnyTarget = Annotated[Target, BeforeValidator(_table)]


class Rule(StrictModel):
    """One of `target` and `targets` is there, but for the built-in rule, whose objects name their target by folders.

    The name is the rule's identity: under another name it takes every object anew. With `existing` false it leaves the
    objects alone that lie there when a worker first sees the rule.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    bucket: str
    prefix: Annotated[str, Field(max_length=1024)] = ""
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    target: AnyTarget | None = None
    targets: Annotated[list[AnyTarget], Field(min_length=1, max_length=MAX_TARGETS)] | None = None
    parameters: JsonObject = Field(default_factory=dict)
    output_prefix: Annotated[str, Field(max_length=1024)] | None = None
    overwrite: bool = False
    priority: Priority = "normal"
    labels: Labels = Field(default_factory=dict)
    callback_url: CallbackText | None = None
    tenant: Annotated[str, Field(pattern=f"^(?:{TENANT.pattern})$")] | None = None  # else the object's place tells it
    existing: bool = True

    @property
    def by_folders(self) -> bool:
        """Whether an object's folders say what it becomes."""
        return self.target is None and self.targets is None

    def chosen(self) -> list[Target]:
        return self.targets if self.targets is not None else [self.target] if self.target else []

    def suffixes(self) -> tuple[str, ...]:
        """In lower case: what a model's name ends in, one of them."""
        if self.suffix is not None:
            return (self.suffix.lower(),)
        platforms = get_platforms()
        named = [platforms[target.platform] for target in self.chosen()] or platforms.values()
        return tuple(dict.fromkeys(suffix for platform in named for suffix in platform.input_suffixes))

    def fits(self, bucket: str, key: str) -> bool:
        """Whether an object of this name is a model that the rule takes."""
        name = PurePosixPath(key).name.lower()
        return (self.covers(bucket, key)
                and any(name.endswith(suffix) and len(name) > len(suffix) for suffix in self.suffixes()))

    def covers(self, bucket: str, key: str) -> bool:
        return bucket == self.bucket and key.startswith(self.prefix)


def find_platform(name: str, task_type: str | None) -> Platform:
    """Raises a pydantic error that names what there is."""
    platforms = get_platforms()
    platform = platforms.get(name)
    if platform is None:
        known = ", ".join(platforms)
        raise wrong(f"不支持目标平台 {name}, 应为: {known}", f"{name} is no target; there are: {known}")
    if task_type is not None and task_type not in platform.task_types:
        known = ", ".join(platform.task_types)
        raise wrong(f"{name} 不支持 task_type {task_type}, 应为: {known}",
                    f"{name} has no task_type {task_type}; there are: {known}")
    return platform


def built_in() -> Rule:
    """`models-in/<platform>/<chip>/…/NAME.onnx`; the chip's folder is left out where a target has no chips."""
    return Rule(name=BUILT_IN, bucket=BUILT_IN)


