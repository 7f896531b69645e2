"""Reads the rules' file: TOML, `MODEL_CONVERT_TRIGGERS`. What is wrong in it is told with its line and its field."""
from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

from shared.deps import process_wide
from shared.errors import AppError
from shared.schema import StrictModel
from shared.settings import Settings, get_settings
from shared.triggers.rule_checks import Wrong, find_wrong
from shared.triggers.rules import Rule, built_in
from shared.triggers.toml_lines import find_line
from shared.validation_messages import describe_errors

MAX_RULES = 1000


class RuleFile(StrictModel):
    """`built_in` false leaves out the rule `models-in`."""

    built_in: bool = True
    rule: list[Rule] = Field(default_factory=list, max_length=MAX_RULES)


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
    before = (built_in(),) if file.built_in else ()
    if found := list(find_wrong(before, file.rule, settings)):
        raise _wrong(path, text, found)
    return (*before, *file.rule)


def _wrong(path: Path, text: str, found: list[Wrong]) -> WrongRules:
    lines = [(find_line(text, wrong.place), ".".join(map(str, wrong.place)), wrong.text) for wrong in found]
    lines.sort(key=lambda line: line[0])
    return WrongRules("\n".join(f"{path}:{number}: {field} {said.zh}" for number, field, said in lines),
                      "\n".join(f"{path}:{number}: {field} {said.en}" for number, field, said in lines))
