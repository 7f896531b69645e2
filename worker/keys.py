"""A stage's key in the cache: the hash of everything that goes into its result."""
from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from worker.cache import canonical_digest
from worker.plan import Stage
from worker.toolchains import ROOT


@lru_cache(maxsize=64)
def code_digest(package: str) -> str:
    """SHA-256 over the sources that a stage's code may import: its own package, the shared stages, the stage API, and
    the rules that stages share with the pre-flight."""
    folders = {"worker.stages", package}
    sources = [ROOT / "worker" / "stage_api.py", *sorted((ROOT / "shared" / "rules").glob("*.py"))]
    for folder in sorted(folders):
        sources += sorted((ROOT / folder.replace(".", "/")).glob("*.py"))
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.relative_to(ROOT).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def stage_key(stage: Stage, target: str, toolchain: str | None, parameters: dict[str, Any], inputs: Any) -> str:
    """`toolchain` is the digest of the environment's lock file, `inputs` the output digests of the stages it reads."""
    package = stage.entry.partition(":")[0].rpartition(".")[0]
    return canonical_digest({"stage": stage.name, "target": None if stage.common else target,
                             "code": code_digest(package), "toolchain": toolchain, "parameters": parameters,
                             "inputs": inputs})
