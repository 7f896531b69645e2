"""Which places of the object store a tenant may name.

In the buckets of uploads and of results each tenant has a folder of its own, `tenant-NAME/`. The tenant `default` has
none: its uploads and its tasks' results lie in the bucket itself, as they did before there were tenants. These places
are a tenant's own, whatever the prefixes of other tenants' keys say. All other places may be named by who has a prefix
for them.
"""
from __future__ import annotations

import re

from shared.access import Caller
from shared.documents import DEFAULT_TENANT, TASK_ID
from shared.settings import Settings

# No underscore: a tenant's folder never looks like a task's or an upload's.
TENANT = re.compile("[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
EVERYWHERE = "*"  # the prefix of a key that may name every place that is nobody's own

_FOLDER = re.compile(f"tenant-({TENANT.pattern})/(.*)", re.DOTALL)
_UPLOAD = re.compile(r"upload_\w{1,64}")


def folder_of_tenant(tenant: str) -> str:
    """Where its uploads and its results lie in their buckets: `tenant-NAME/`, or nothing."""
    return "" if tenant == DEFAULT_TENANT else f"tenant-{tenant}/"


def split_tenant(key: str) -> tuple[str, str]:
    """The tenant in whose folder an object of the uploads' or the results' bucket lies, and its name in there."""
    found = _FOLDER.fullmatch(key)
    return (found[1], found[2]) if found else (DEFAULT_TENANT, key)


def owner_of(path: str, settings: Settings) -> str | None:
    """The tenant whose own place the path is in, or names; None where it is nobody's own."""
    bucket, _, key = path.partition("/")
    if bucket not in (settings.uploads_bucket, settings.results_bucket):
        return None
    tenant, rest = split_tenant(f"{key}/")
    first = rest.partition("/")[0]
    if tenant != DEFAULT_TENANT or TASK_ID.fullmatch(first) or _UPLOAD.fullmatch(first):
        return tenant
    return None


def may_name(caller: Caller, path: str, settings: Settings) -> bool:
    """Whether the caller's requests may name this path, which `check_path` has found right otherwise."""
    owner = owner_of(path, settings)
    if owner is not None:
        return owner == caller.tenant
    return EVERYWHERE in caller.prefixes or path.startswith(tuple(caller.prefixes))
