"""Says what would happen to an object that is uploaded: `python -m infra.triggers check FILE BUCKET/KEY`.

FILE has the rules, `-` is none: then only the built-in rule counts. The object's metadata and its sidecar count where
it lies in the object store (MODEL_CONVERT_FILES_URL) already; otherwise its name alone. Nothing is started. It ends
with 0 where a conversion would start, and with 1 where none would, or where the rules are wrong.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shared.access import acting_for
from shared.creation.documents import build_tasks
from shared.deps import close_all
from shared.documents import DEFAULT_TENANT, Task
from shared.errors import AppError, InvalidRequest, Unavailable
from shared.files.paths import check_path
from shared.settings import WrongSettings, get_settings
from shared.triggers.objects import StoredObject, Upload
from shared.triggers.requests import build_request
from shared.triggers.rule_file import WrongRules, read_rules
from shared.triggers.rules import Rule, built_in
from shared.triggers.starting import wishes_of
from shared.triggers.taking import look_at
from shared.triggers.tenants import caller_of
from shared.triggers.wishes import NotUsable, Wishes, sidecar_of


def main(argv: list[str] | None = None) -> int:
    cli = argparse.ArgumentParser(prog="python -m infra.triggers", description="what an upload would start")
    commands = cli.add_subparsers(required=True, metavar="check")
    check = commands.add_parser("check", help="say what would happen to an object")
    check.add_argument("file", metavar="FILE", help="the rules, or - for the built-in one alone")
    check.add_argument("path", metavar="BUCKET/KEY")
    arguments = cli.parse_args(argv)
    try:
        rules = (built_in(),) if arguments.file == "-" else read_rules(Path(arguments.file), get_settings())
        return _tell(rules, check_path(arguments.path, "BUCKET/KEY", get_settings()))
    except (WrongRules, InvalidRequest, WrongSettings) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        close_all()


def _tell(rules: tuple[Rule, ...], path: str) -> int:
    bucket, _, key = path.partition("/")
    fitting = [rule for rule in rules if rule.fits(bucket, key)]
    if not fitting and (described := sidecar_of(key)) is not None:
        fitting = [rule for rule in rules if rule.fits(bucket, described)]
        if fitting:
            print(f"{path} is a sidecar; it describes {bucket}/{described}")
            key = described
    if not fitting:
        print(f"no rule fits {path}; there are: {', '.join(rule.name for rule in rules)}")
        return 1
    upload = _find(bucket, key)
    if upload is not None and upload.model.mark is not None:
        print(f"{bucket}/{key} is a result of this service: no rule takes it")
        return 1
    return 0 if [rule for rule in fitting if _tell_of(rule, bucket, key, upload)] else 1


def _find(bucket: str, key: str) -> Upload | None:
    try:
        upload, _ = look_at(StoredObject(bucket, key), key)
    except Unavailable as error:
        print(f"the object store does not answer ({error}): only the object's name counts here")
        return None
    if upload is None:
        print(f"{bucket}/{key} is not there yet: only its name counts here")
    elif upload.sidecar:
        print(f"with the sidecar {upload.sidecar.path}")
    return upload


def _tell_of(rule: Rule, bucket: str, key: str, upload: Upload | None) -> bool:
    try:
        wishes = wishes_of(upload) if upload else Wishes()
        with acting_for(caller_of(rule) if rule.tenant else None):
            tasks = build_tasks(build_request(rule, bucket, key, wishes, "upload"), get_settings())
    except NotUsable as error:
        print(f"rule {rule.name}: ignored: {error.text.en}")
        return False
    except AppError as error:
        print(f"rule {rule.name}: ignored: {error.en}")
        return False
    for task in tasks:
        print(f"rule {rule.name}: {_describe(task, rule)}")
    return True


def _describe(task: Task, rule: Rule) -> str:
    place = f"to {task.output_path}" if rule.output_prefix is not None else "into a folder of the task's own"
    changed = ", ".join(f"{name} {value}" for name, value in task.parameters.items()
                        if name in ("chip", "precision") and value is not None)
    labels = "".join(f", {name}={value}" for name, value in task.labels.items())
    whose = "" if task.tenant == DEFAULT_TENANT else f", of tenant {task.tenant}"
    return f"{task.task_type} for {task.platform} ({changed}){whose}, priority {task.priority}{labels}, {place}"


if __name__ == "__main__":
    sys.exit(main())
