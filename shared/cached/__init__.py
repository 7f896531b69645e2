"""What lies in the cache bucket beside the objects of clients, and where.

    stages/<key>.json     the manifest of a stage's result; written after its files. Its time is its last use
    blobs/<sha256>        the content of results' files, each once, whichever results have it
    logs/<task>/<stage>   see `shared.task_logs`
    notices/<id>.json     what was removed, or is to be removed: see `notices`
    leaving/<upload>.json an upload that is about to go: see `shared.lifetimes.leaving`
    housekeeping/…        the clock, and whose turn it is: see `turns`
"""
from __future__ import annotations

MANIFEST_LIMIT_BYTES = 64 << 20


def manifest_path(bucket: str, key: str) -> str:
    return f"{manifests(bucket)}{key}.json"


def manifests(bucket: str) -> str:
    return f"{bucket}/stages/"


def blob_path(bucket: str, sha256: str) -> str:
    return f"{blobs(bucket)}{sha256}"


def blobs(bucket: str) -> str:
    return f"{bucket}/blobs/"


def name_of(path: str) -> str:
    """The key of a manifest's path, the digest of a blob's, the id of a notice's."""
    return path.rpartition("/")[2].removesuffix(".json")
