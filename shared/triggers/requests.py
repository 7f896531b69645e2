"""From a rule, an object and what the object asks for to a request for conversions."""
from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from shared.creation.requests import CreateTask
from shared.platforms import get_platforms
from shared.rules.bilingual import Bilingual, as_it_is
from shared.triggers import reasons
from shared.triggers.rules import Rule, Target
from shared.triggers.wishes import NotUsable, Wishes
from shared.validation_messages import printable, to_invalid_request, validate


def build_request(rule: Rule, bucket: str, key: str, wishes: Wishes, idempotency_key: str) -> CreateTask:
    """Raises:
        NotUsable: no target is named, or an unknown one.
        InvalidRequest: what is named does not fit.
    """
    targets, below = _targets(rule, bucket, key, wishes)
    values: dict[str, Any] = {
        "input_path": f"{bucket}/{key}", "overwrite": rule.overwrite, "priority": wishes.priority or rule.priority,
        "labels": rule.labels | wishes.labels, "idempotency_key": idempotency_key,
        "callback_url": wishes.callback_url or rule.callback_url}
    shared = rule.parameters if _is_the_rules(rule, wishes) else {}
    choices = [{"platform": target.platform, "task_type": target.task_type or _first_task_type(target.platform),
                "parameters": shared | target.parameters | wishes.parameters} for target in targets]
    for choice, target in zip(choices, targets, strict=True):
        if rule.output_prefix is not None:
            choice["output_path"] = output_of(rule, target, below, several=len(targets) > 1)
    if len(choices) == 1:
        return validate(CreateTask, values | choices[0])
    return validate(CreateTask, values | {"targets": choices})


def _is_the_rules(rule: Rule, wishes: Wishes) -> bool:
    return wishes.platform is None or not rule.chosen() or any(
        target.platform == wishes.platform for target in rule.chosen())


def _targets(rule: Rule, bucket: str, key: str, wishes: Wishes) -> tuple[list[Target], str]:
    """The targets, and the object's path below what the rule covers."""
    below = key.removeprefix(rule.prefix).lstrip("/")
    if rule.by_folders:
        return [_target_of_folders(rule, bucket, key, wishes)], below
    targets = rule.chosen()
    if wishes.platform is not None:
        targets = [target for target in targets if target.platform == wishes.platform] or [_named(wishes)]
    if wishes.task_type is not None:
        targets = [target.model_copy(update={"task_type": wishes.task_type}) for target in targets]
    return targets, below


def _named(wishes: Wishes) -> Target:
    try:
        return Target(platform=wishes.platform or "", task_type=wishes.task_type)
    except ValidationError as error:
        wrong = to_invalid_request(error, Target)
        raise NotUsable(Bilingual(wrong.zh, wrong.en)) from error


def _target_of_folders(rule: Rule, bucket: str, key: str, wishes: Wishes) -> Target:
    """`<platform>/<chip>/…/NAME`. What metadata or a sidecar names need not be among the folders."""
    folders = list(PurePosixPath(key.removeprefix(rule.prefix)).parts[:-1])
    name, root = wishes.platform, f"{bucket}/{rule.prefix}".rstrip("/")
    if folders and folders[0] in get_platforms() and name in (None, folders[0]):
        name = folders.pop(0)
    elif name is None:
        raise NotUsable(reasons.UNKNOWN_PLATFORM(name=printable(folders[0], 40) if folders else "…", root=root,
                                                 known=", ".join(get_platforms())))
    target = _named(wishes.model_copy(update={"platform": name}))
    platform = get_platforms()[target.platform]
    if not PurePosixPath(key).name.lower().endswith(platform.input_suffixes):
        raise NotUsable(reasons.WRONG_SUFFIX(platform=name, suffixes=", ".join(platform.input_suffixes)))
    if "chip" not in platform.parameters.model_fields or "chip" in wishes.parameters:
        return target
    if not folders:
        raise NotUsable(reasons.NO_CHIP(root=root, platform=name))
    if why := _no_chip(target.platform, folders[0]):
        raise NotUsable(reasons.UNKNOWN_CHIP(name=printable(folders[0], 40), platform=name, root=root, why=why))
    return target.model_copy(update={"parameters": {"chip": folders[0]}})


def _no_chip(platform: str, chip: str) -> Bilingual | None:
    """Why this is no chip of the target; None where it is one. Whatever is wrong with a field when nothing but the chip
    is sent is wrong with the chip; fields that are missing come later."""
    parameters = get_platforms()[platform].parameters
    try:
        parameters.model_validate({"chip": chip})
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            if found["loc"] and found["type"] != "missing":
                context = found.get("ctx", {})
                if found["type"] == "bilingual":
                    return Bilingual(context["zh"], context["en"])
                return as_it_is(printable(str(context.get("expected", found["msg"])), 400))
    return None


def _first_task_type(platform: str) -> str:
    return get_platforms()[platform].task_types[0]


def output_of(rule: Rule, target: Target, below: str, *, several: bool) -> str:
    """The model's own place `below` the rule's prefix, below the output prefix. Each of `several` targets has a folder.
    """
    folder = f"{target.label}/" if several else ""
    return f"{rule.output_prefix}{folder}{below[:-len(PurePosixPath(below).suffix) or None]}" + (
        get_platforms()[target.platform].artefact_suffix)


def outputs_of(rule: Rule, key: str) -> list[str]:
    """Where a model's results go by a rule that names its targets, if the model says nothing itself."""
    targets, below = _targets(rule, rule.bucket, key, Wishes())
    return [output_of(rule, target, below, several=len(targets) > 1) for target in targets]
