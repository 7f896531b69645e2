"""Keys of the HTTP API: `python -m infra.keys create|list|rotate|revoke`, on the store that the settings name.

A key is shown once, when it is made: the store has its SHA-256 only. The exit code is 0, or 1 where it was not done, or
2 where the command itself is wrong.
"""
from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from shared.access.documents import NAME, SCOPES, Key, new_key_id
from shared.access.key_text import digest_of, new_key_text
from shared.access.places import EVERYWHERE, TENANT
from shared.deps import close_all, get_store
from shared.errors import AppError, NotFound
from shared.files.paths import check_prefix
from shared.logs import set_up_logs
from shared.settings import WrongSettings, get_settings
from shared.times import format_time

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")

audit = logging.getLogger("audit")


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        set_up_logs(get_settings().log_level, service="keys")
        answer = args.run(args)
    except (AppError, WrongSettings) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        close_all()
    print(json.dumps(answer, ensure_ascii=False) if args.output == "json" else args.say(answer))
    return 0


def make_key(name: str, tenant: str, scopes: Sequence[str], prefixes: Sequence[str] = (),
             life_s: float | None = None) -> tuple[Key, str]:
    """Store a new key; its document, and the key itself.

    Raises:
        Unavailable: the store does not answer.
    """
    text, now = new_key_text(), time.time()
    key = Key(id=new_key_id(), digest=digest_of(text), name=name, tenant=tenant, scopes=list(scopes),
              prefixes=list(prefixes), created_at=now, expires_at=None if life_s is None else now + life_s)
    get_store().add_key(key)
    audit.info("key created", extra=_labels(key))
    return key, text


def rotate_key(key_id: str, overlap_s: float, life_s: float | None = None) -> tuple[Key, str]:
    """A new key like this one, which ends after `overlap_s`. Without `life_s` the new one lives as long as the old one
    was made to.

    Raises:
        NotFound: there is no such key, or it has ended.
        Unavailable: the store does not answer. The old key is as it was, or the new one is there too.
    """
    old, now = _find(key_id), time.time()
    if why := old.why_ended(now):
        raise NotFound(f"密钥 {key_id} 已失效 ({why}), 无法轮换", f"the key {key_id} has ended ({why}): make a new one")
    if life_s is None and old.expires_at is not None:
        life_s = old.expires_at - old.created_at
    key, text = make_key(old.name, old.tenant, old.scopes, old.prefixes, life_s)
    get_store().end_key(old.id, expires_at=now + overlap_s)
    audit.info("key rotated", extra=_labels(old) | {"by_key": key.id, "overlap_s": overlap_s})
    return key, text


def revoke_key(key_id: str) -> Key:
    """Raises NotFound, Unavailable."""
    _find(key_id)
    key = get_store().end_key(key_id, revoked_at=time.time())
    if key is None:
        raise _no_key(key_id)
    audit.info("key revoked", extra=_labels(key))
    return key


def _find(key_id: str) -> Key:
    found = next((key for key in get_store().all_keys() if key.id == key_id), None)
    if found is None:
        raise _no_key(key_id)
    return found


def _no_key(key_id: str) -> NotFound:
    return NotFound(f"没有这个密钥: {key_id}", f"there is no key {key_id}: `list` shows those that there are")


def _labels(key: Key) -> dict[str, Any]:
    return {"key_id": key.id, "key_name": key.name, "tenant": key.tenant, "scopes": key.scopes,
            "prefixes": key.prefixes}


# --- the command line -------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    cli = argparse.ArgumentParser(prog="python -m infra.keys", description="the keys of the HTTP API")
    commands = cli.add_subparsers(required=True, metavar="create|list|rotate|revoke")
    create = commands.add_parser("create", help="make a key, and show it once")
    create.add_argument("--tenant", required=True, type=_tenant, help="whose tasks it sees and makes")
    create.add_argument("--scopes", required=True, type=_scopes, help="of read, write and admin, by commas")
    create.add_argument("--prefix", action="append", default=[], type=_prefix, dest="prefixes",
                        help="bucket/ or bucket/folder/ that its requests may name; '*' is every bucket; may be "
                             "repeated. Without one there are only its tenant's uploads and results")
    create.add_argument("--expires", type=_duration, help="how long it lives, as in 90d or 12h; without it for ever")
    create.add_argument("--name", type=_name, help="events and the log show it; by default the tenant's")
    create.set_defaults(run=_create, say=_say_new)
    show = commands.add_parser("list", help="all keys, without what is secret")
    show.set_defaults(run=_list, say=_say_list)
    rotate = commands.add_parser("rotate", help="make a key like another, which ends a little later")
    rotate.add_argument("id")
    rotate.add_argument("--overlap", type=_duration, default=3600.0, help="how long both are good; by default 1h")
    rotate.add_argument("--expires", type=_duration, help="how long the new one lives; by default as the old one")
    rotate.set_defaults(run=_rotate, say=_say_new)
    revoke = commands.add_parser("revoke", help="end a key within seconds")
    revoke.add_argument("id")
    revoke.set_defaults(run=_revoke, say=lambda answer: f"{answer['id']} is revoked; all processes know within seconds")
    for command in (create, show, rotate, revoke):
        command.add_argument("-o", dest="output", choices=("text", "json"), default="text")
    return cli


def _create(args: argparse.Namespace) -> dict[str, Any]:
    return _new(*make_key(args.name or args.tenant, args.tenant, args.scopes, args.prefixes, args.expires))


def _rotate(args: argparse.Namespace) -> dict[str, Any]:
    return _new(*rotate_key(args.id, args.overlap, args.expires)) | {"replaces": args.id}


def _revoke(args: argparse.Namespace) -> dict[str, Any]:
    return _view(revoke_key(args.id))


def _list(args: argparse.Namespace) -> list[dict[str, Any]]:
    return [_view(key) for key in get_store().all_keys()]


def _new(key: Key, text: str) -> dict[str, Any]:
    return {"id": key.id, "key": text} | _view(key)


def _view(key: Key) -> dict[str, Any]:
    times = {name: format_time(getattr(key, name)) for name in
             ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {"id": key.id, "name": key.name, "tenant": key.tenant, "scopes": key.scopes, "prefixes": key.prefixes,
            "state": key.why_ended(time.time()) or "good"} | times


def _say_new(answer: dict[str, Any]) -> str:
    places = ", ".join(answer["prefixes"]) or "its tenant's uploads and results only"
    return (f"{answer['key']}\n\n{answer['id']} ({answer['name']}) of tenant {answer['tenant']}: "
            f"{', '.join(answer['scopes'])}; may name {places}; ends {answer['expires_at'] or 'never'}\n"
            "This is the only time that it is shown. Send it as `Authorization: Bearer KEY`.")


def _say_list(answer: list[dict[str, Any]]) -> str:
    if not answer:
        return "there are no keys"
    columns = ("id", "state", "tenant", "name", "scopes", "prefixes", "expires_at", "last_used_at")
    rows = [columns, *([_cell(key[name]) for name in columns] for key in answer)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)


def _cell(value: Any) -> str:
    return (",".join(value) if isinstance(value, list) else value) or "-"


# --- what the command line takes --------------------------------------------------------------------------------------


def _tenant(text: str) -> str:
    if not TENANT.fullmatch(text):
        raise argparse.ArgumentTypeError("a tenant's name has at most 40 lower-case letters, digits and hyphens")
    return text


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("a name has at most 63 letters, digits, spaces and . _ @ -")
    return text


def _scopes(text: str) -> list[str]:
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is no scope; there are "
                                         f"{', '.join(SCOPES)}")
    return [scope for scope in SCOPES if scope in wanted]


def _prefix(text: str) -> str:
    if text == EVERYWHERE:
        return text
    try:
        return check_prefix(text)
    except AppError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is no time: write a number and s, m, h or d, as in 90d")
    return int(found[1]) * _UNITS[found[2]]


if __name__ == "__main__":
    sys.exit(main())
