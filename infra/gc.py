"""Removes now what the workers' housekeeping removes in time: `python -m infra.gc [--dry-run]`.

The settings say where: MODEL_CONVERT_FILES_URL, …_STORE_URL, …_CACHE_BUCKET, and the budget and lifetimes beside them.
It may run while the service runs. With `--dry-run` it prints what it would remove, and removes nothing.
"""
from __future__ import annotations

import argparse
import os
import sys

from shared.cached.collector import Collector, Report
from shared.deps import close_all, get_files, get_store
from shared.errors import AppError
from shared.lifetimes.passes import Lifetimes, Removed
from shared.secret_files import is_given
from shared.settings import PREFIX, WrongSettings, get_settings


def main() -> int:
    cli = argparse.ArgumentParser(description="remove what nobody needs any more from the cache bucket and the store")
    cli.add_argument("--dry-run", action="store_true", help="print what would be removed, and remove nothing")
    args = cli.parse_args()
    named = {name for name in ("STORE_URL", "FILES_URL") if is_given(os.environ, PREFIX + name)}
    if len(named) == 1:  # with another service's tasks it would remove what this one's need
        cli.error(f"only {PREFIX}{named.pop()} is set: the store and the bucket have to be the same service's")
    try:
        report = Collector(get_files(), get_store(), get_settings(), dry_run=args.dry_run).run()
        removed = Lifetimes(get_files(), get_store(), get_settings(), dry_run=args.dry_run).run()
        given = 0 if args.dry_run else get_store().tidy(all_at_once=True)
    except WrongSettings as error:
        print(error, file=sys.stderr)
        return 1
    except AppError as error:
        print(f"it did not come to its end: {error}", file=sys.stderr)
        return 1
    finally:
        close_all()
    print(describe(report, removed, given, dry_run=args.dry_run))
    return 0


def describe(report: Report, removed: Removed, given: int, *, dry_run: bool) -> str:
    """A line for each kind, and for each task and upload."""
    done = "would remove" if dry_run else "removed"
    lines = [f"{done} {count} {kind}, {size(report.sizes[kind])}" for kind, count in sorted(report.counts.items())]
    lines += [f"{done} {count} {kind}" for kind, count in sorted(removed.counts.items())]
    lines += [f"  {line}" for line in removed.lines]
    if removed.waiting:
        lines.append(f"{removed.waiting} unused uploads go at the next run, from a minute on: nobody can name them now")
    if not lines:
        lines.append(f"{done} nothing")
    if given:
        lines.append(f"the store's file is {size(given)} smaller")
    return "\n".join([*lines, f"the cache bucket holds {report.kept_count} objects, {size(report.kept_bytes)}"])


def size(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB" if count >= 1 << 20 else f"{count} bytes"


if __name__ == "__main__":
    sys.exit(main())
