"""Reads the rules' file: TOML, `MODEL_CONVERT_TRIGGERS`. What is wrong in it is told with its line and its field."""
from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from shared.creation.documents import build_tasks
from shared.deps import process_wide
from shared.errors import AppError, InvalidRequest
from shared.files.paths import check_path
from shared.platforms import get_platforms
from shared.rules.bilingual import Bilingual
from shared.schema import StrictModel
from shared.settings import Settings, get_settings
from shared.triggers.requests import build_request
from shared.triggers.rules import BUILT_IN, Rule, Target, built_in
from shared.triggers.toml_lines import Place, find_line
from shared.triggers.wishes import Wishes
from shared.validation_messages import describe_errors

MAX_RULES = 1000


class RuleFile(StrictModel):
    """`built_in` false leaves out the rule `models-in`."""

    built_in: bool = True
    rule: list[Rule] = Field(default_factory=list, max_length=MAX_RULES)


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong, and where."""

    place: Place
    text: Bilingual


class WrongRules(AppError):
    """The rules' file cannot be used: the service does not start. Each line of the text begins with `FILE:LINE: `."""


class _Loaded:
    def __init__(self) -> None:
        path = get_settings().triggers
        self.rules = (built_in(),) if path is None else read_rules(path, get_settings())

    def close(self) -> None:
        """Nothing is held open."""


_loaded = process_wide(_Loaded)


def get_rules() -> tuple[Rule, ...]:
    """The process's rules; the file is read once.

    Raises:
        WrongRules.
    """
    return _loaded().rules


def read_rules(path: Path, settings: Settings) -> tuple[Rule, ...]:
    """Raises WrongRules."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise WrongRules(f"{path}: 无法读取: {error.strerror}", f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WrongRules(f"{path}: 应为 UTF-8", f"{path}: it should be UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise WrongRules(f"{path}: 不是有效的 TOML: {error}", f"{path}: it is no valid TOML: {error}") from error
    try:
        file = RuleFile.model_validate(values)
    except ValidationError as error:
        raise _wrong(path, text, [Wrong(place, said) for place, said in describe_errors(error, RuleFile)]) from error
    if found := list(_check(file, settings)):
        raise _wrong(path, text, found)
    return (*((built_in(),) if file.built_in else ()), *file.rule)


def _wrong(path: Path, text: str, found: list[Wrong]) -> WrongRules:
    lines = [(find_line(text, wrong.place), ".".join(map(str, wrong.place)), wrong.text) for wrong in found]
    lines.sort(key=lambda line: line[0])
    return WrongRules("\n".join(f"{path}:{number}: {field} {said.zh}" for number, field, said in lines),
                      "\n".join(f"{path}:{number}: {field} {said.en}" for number, field, said in lines))


def _check(file: RuleFile, settings: Settings) -> Iterator[Wrong]:
    """What no field by itself shows."""
    names = [BUILT_IN] if file.built_in else []
    for index, rule in enumerate(file.rule):
        at: Place = ("rule", index)
        if rule.name in names:
            yield Wrong((*at, "name"), Bilingual("已被另一规则使用", "is another rule's name"))
        names.append(rule.name)
        found = [*_check_place(rule, at, settings), *_check_targets(rule, at)]
        yield from found
        if not found:
            yield from _check_request(rule, at, settings)


def _check_place(rule: Rule, at: Place, settings: Settings) -> Iterator[Wrong]:
    try:
        check_path(f"{rule.bucket}/x", "bucket", settings)
    except InvalidRequest as error:
        yield Wrong((*at, "bucket"), Bilingual(error.zh, error.en))
        return
    if rule.prefix.startswith("/"):
        yield Wrong((*at, "prefix"), Bilingual("不得以 / 开头", "must not start with a slash"))


def _check_targets(rule: Rule, at: Place) -> Iterator[Wrong]:
    if rule.target is not None and rule.targets is not None:
        yield Wrong((*at, "targets"), Bilingual("不得与 target 同时使用", "must not be there together with target"))
        return
    labels = set()
    for number, target in enumerate(rule.chosen()):
        here = (*at, "target") if rule.targets is None else (*at, "targets", number)
        if target.label in labels:
            yield Wrong(here, Bilingual("与另一目标相同", "is another one of the rule's targets already"))
        labels.add(target.label)
        taken = get_platforms()[target.platform].input_suffixes
        if rule.suffix is not None and not rule.suffix.lower().endswith(taken):
            yield Wrong((*at, "suffix"), Bilingual(f"{target.platform} 接受以 {', '.join(taken)} 结尾的模型",
                                                   f"is not what {target.platform} takes: {', '.join(taken)}"))
        yield from _check_parameters(rule, target, at, here)


def _check_parameters(rule: Rule, target: Target, at: Place, here: Place) -> Iterator[Wrong]:
    """What is missing may come with the object's metadata or its sidecar."""
    model = get_platforms()[target.platform].parameters
    try:
        model.model_validate(rule.parameters | target.parameters)
    except ValidationError as error:
        for place, said in describe_errors(error, model, but=("missing",)):
            own = bool(place) and place[0] in target.parameters
            yield Wrong((*(here if own else at), "parameters", *place), said)


def _check_request(rule: Rule, at: Place, settings: Settings) -> Iterator[Wrong]:
    """The request that an object of a plain name would make, as `create_tasks` checks it."""
    if rule.by_folders:
        return
    complete = all(_is_complete(rule, target) for target in rule.chosen())
    try:
        request = build_request(rule, rule.bucket, f"{rule.prefix}x{rule.suffixes()[0]}", Wishes(), "upload")
        if complete:
            build_tasks(request, settings)
    except InvalidRequest as error:
        field = next((name for name in ("callback_url", "output_path") if name in error.en), None)
        where = {"output_path": "output_prefix", None: "prefix"}.get(field, field)
        yield Wrong((*at, str(where)), Bilingual(error.zh, error.en))


def _is_complete(rule: Rule, target: Target) -> bool:
    try:
        get_platforms()[target.platform].parameters.model_validate(rule.parameters | target.parameters)
    except ValidationError:
        return False
    return True
