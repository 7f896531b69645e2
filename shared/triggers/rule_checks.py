"""What no field of a rule by itself shows: rules under which no upload could ever be converted are told at the start.

What an object may still bring, by its metadata or its sidecar, is not asked for here.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from pydantic import ValidationError

from shared.creation.documents import build_tasks, check_output
from shared.documents import TASK_ID
from shared.errors import InvalidRequest
from shared.files.paths import check_path
from shared.platforms import get_platforms
from shared.platforms.base import Platform
from shared.rules.bilingual import Bilingual
from shared.settings import Settings
from shared.triggers.requests import build_request, output_of, outputs_of
from shared.triggers.rules import Rule, Target
from shared.triggers.toml_lines import Place
from shared.triggers.wishes import Wishes
from shared.validation_messages import describe_errors


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong, and where."""

    place: Place
    text: Bilingual


def find_wrong(before: Sequence[Rule], rules: Sequence[Rule], settings: Settings) -> Iterator[Wrong]:
    """`before` are rules that are not the file's."""
    names = [rule.name for rule in before]
    for index, rule in enumerate(rules):
        at: Place = ("rule", index)
        if rule.name in names:
            yield Wrong((*at, "name"), Bilingual("已被另一规则使用", "is another rule's name"))
        names.append(rule.name)
        found = [*_check_place(rule, at, settings), *_check_callback(rule, at, settings), *_check_targets(rule, at)]
        found += [] if found else [*_check_outputs(rule, at, settings)]
        yield from found or _check_request(rule, at, settings)
    yield from _check_shared_outputs(rules)


def _check_place(rule: Rule, at: Place, settings: Settings) -> Iterator[Wrong]:
    """An object's name that the rule fits has to be one that create takes."""
    if "/" in rule.bucket.strip("/"):
        yield Wrong((*at, "bucket"), Bilingual("不得含有 /; 文件夹请写入 prefix",
                                               "must not contain a slash: folders belong to the prefix"))
        return
    if rule.suffix is not None and "/" in rule.suffix:
        yield Wrong((*at, "suffix"), Bilingual("不得含有 /: 仅与对象名的末段比较",
                                               "must not contain a slash: it is compared with the last part of a name"))
        return
    suffix = rule.suffix or rule.suffixes()[0]
    if rule.prefix.startswith("/"):
        yield Wrong((*at, "prefix"), Bilingual("不得以 / 开头", "must not start with a slash"))
        return
    for field, path in (("bucket", f"{rule.bucket}/x"), ("prefix", f"{rule.bucket}/{rule.prefix}x"),
                        ("suffix", f"{rule.bucket}/x{suffix}"), ("prefix", f"{rule.bucket}/{rule.prefix}x{suffix}")):
        try:
            check_path(path, field, settings)
        except InvalidRequest as error:
            yield Wrong((*at, field), Bilingual(error.zh, error.en))
            return


def _check_callback(rule: Rule, at: Place, settings: Settings) -> Iterator[Wrong]:
    if rule.callback_url is None:
        return
    from shared.announcements.urls import check_callback_url  # most rules have none

    try:
        check_callback_url(rule.callback_url, settings)
    except InvalidRequest as error:
        yield Wrong((*at, "callback_url"), Bilingual(error.zh, error.en))


def _check_targets(rule: Rule, at: Place) -> Iterator[Wrong]:
    if rule.target is not None and rule.targets is not None:
        yield Wrong((*at, "targets"), Bilingual("不得与 target 同时使用", "must not be there together with target"))
        return
    if rule.by_folders:
        yield from _check_any_target(rule, at)
        return
    labels = set()
    for number, target in enumerate(rule.chosen()):
        here = (*at, "target") if rule.targets is None else (*at, "targets", number)
        if target.label in labels:
            yield Wrong(here, Bilingual("与另一目标相同", "is another one of the rule's targets already"))
        labels.add(target.label)
        yield from _check_suffix(rule, at, get_platforms()[target.platform].input_suffixes, target.platform)
        yield from _check_parameters(rule, target, at, here)


def _check_suffix(rule: Rule, at: Place, taken: tuple[str, ...], by: str) -> Iterator[Wrong]:
    if rule.suffix is not None and not rule.suffix.lower().endswith(taken):
        yield Wrong((*at, "suffix"), Bilingual(f"{by} 接受以 {', '.join(taken)} 结尾的模型",
                                               f"is not what {by} takes: {', '.join(taken)}"))


def _check_parameters(rule: Rule, target: Target, at: Place, here: Place) -> Iterator[Wrong]:
    """What is missing may come with the object's metadata or its sidecar."""
    model = get_platforms()[target.platform].parameters
    try:
        model.model_validate(rule.parameters | target.parameters)
    except ValidationError as error:
        for place, said in describe_errors(error, model, but=("missing",)):
            own = place[0] in target.parameters if place else bool(target.parameters)
            yield Wrong((*(here if own else at), "parameters", *place), said)


def _check_any_target(rule: Rule, at: Place) -> Iterator[Wrong]:
    """Of a rule whose objects name their target: what is wrong for each target that there is."""
    platforms = get_platforms().values()
    suffixes = tuple(dict.fromkeys(suffix for platform in platforms for suffix in platform.input_suffixes))
    yield from _check_suffix(rule, at, suffixes, ", ".join(platform.name for platform in platforms))
    refused = [_refused_parameters(rule, platform) for platform in platforms]
    for place, said in refused[0].items():
        if all(place in others for others in refused):
            yield Wrong((*at, "parameters", *place), said)


def _refused_parameters(rule: Rule, platform: Platform) -> dict[Place, Bilingual]:
    """By parameter."""
    try:
        platform.parameters.model_validate(rule.parameters)
    except ValidationError as error:
        return {place[:1]: said for place, said in describe_errors(error, platform.parameters, but=("missing",))}
    return {}


def _check_outputs(rule: Rule, at: Place, settings: Settings) -> Iterator[Wrong]:
    """Where an object of a short name would have its results."""
    if rule.output_prefix is None:
        return
    place = (*at, "output_prefix")
    if folder := next((name for name in rule.output_prefix.split("/") if TASK_ID.fullmatch(name)), None):
        yield Wrong(place, Bilingual(f"{folder} 是某一任务自己的文件夹", f"{folder} is a folder of one task's own"))
        return
    several = len(rule.chosen()) > 1
    for target in rule.chosen() or [Target(platform=name) for name in get_platforms()]:
        platform = get_platforms()[target.platform]
        model = f"{target.platform}/x{platform.input_suffixes[0]}" if rule.by_folders else f"x{rule.suffixes()[0]}"
        path = output_of(rule, target, model, several=several)
        try:
            check_output(path, "output_path", f"{rule.bucket}/{rule.prefix}{model}", platform, settings)
        except InvalidRequest as error:
            yield Wrong(place, Bilingual(error.zh, error.en))
            return


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
        yield Wrong(at, Bilingual(error.zh, error.en))


def _is_complete(rule: Rule, target: Target) -> bool:
    try:
        get_platforms()[target.platform].parameters.model_validate(rule.parameters | target.parameters)
    except ValidationError:
        return False
    return True


def _check_shared_outputs(rules: Sequence[Rule]) -> Iterator[Wrong]:
    """Two rules that fit one object and write its results to one place: one would replace what the other has made."""
    writing = [(index, rule) for index, rule in enumerate(rules)
               if rule.output_prefix is not None and not rule.by_folders and not (rule.target and rule.targets)]
    for position, (index, rule) in enumerate(writing):
        for _, other in writing[:position]:
            key = _key_of_both(rule, other)
            if key is None:
                continue
            if common := {*outputs_of(rule, key)}.intersection(outputs_of(other, key)):
                yield Wrong(("rule", index, "output_prefix"), Bilingual(
                    f"规则 {other.name} 对同一对象也会写入 {min(common)}",
                    f"is where rule {other.name} writes as well: both would make {min(common)} of {rule.bucket}/{key}"))
                break


def _key_of_both(rule: Rule, other: Rule) -> str | None:
    """A model's name that both rules fit."""
    if rule.bucket != other.bucket:
        return None
    prefix = max(rule.prefix, other.prefix, key=len)
    if not (prefix.startswith(rule.prefix) and prefix.startswith(other.prefix)):
        return None
    for suffixes in product(rule.suffixes(), other.suffixes()):
        suffix = max(suffixes, key=len)
        if all(map(suffix.endswith, suffixes)):
            return f"{prefix}x{suffix}"
    return None
