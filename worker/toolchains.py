"""Where a toolchain's interpreter lies, and which versions it holds.

An environment of ours lies in a folder that is named by the digest of its lock file: another lock is another folder, so
a half-updated environment cannot exist, and several checkouts on one machine share what is equal. A vendor's lies where
the vendor put it.
"""
from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from shared.digests import canonical_digest
from worker.plan import Environment, Located, load_entry

ROOT = Path(__file__).resolve().parent.parent
# Written last by the install step: the versions of the tools that the interpreter below brings, which no lock pins.
COMPLETE = ".complete"


@dataclass(frozen=True)
class Toolchain:
    """An environment as it is on this machine. `digest` stands for its version in every cache key."""

    environment: Environment
    interpreter: Path
    digest: str
    versions: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)


def find_toolchain(environment: Environment, toolchains_dir: Path) -> Toolchain | None:
    """The environment's toolchain, or None while it is not (wholly) installed here."""
    if environment.locate:
        located: Located | None = load_entry(environment.locate)()
        if located is None:
            return None
        return Toolchain(environment, located.interpreter, canonical_digest(located.versions), located.versions,
                         located.variables)
    folder = environment_dir(environment, toolchains_dir)
    try:
        below = json.loads((folder / COMPLETE).read_text() or "{}")
    except FileNotFoundError:
        return None
    versions, digest = tool_versions(environment) | below, lock_digest(environment)
    if set(versions) != set(environment.tools):
        return None
    return Toolchain(environment, folder / "bin" / "python", canonical_digest([digest, below]) if below else digest,
                     versions)


def lock_digest(environment: Environment) -> str:
    """SHA-256 of the environment's lock file."""
    return hashlib.sha256((ROOT / environment.requirements).read_bytes()).hexdigest()


def environment_dir(environment: Environment, toolchains_dir: Path) -> Path:
    return toolchains_dir / f"{environment.name}-{lock_digest(environment)[:12]}"


def tool_versions(environment: Environment) -> dict[str, str]:
    """`{tool: version}` of the tools that the lock file pins."""
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / environment.requirements).read_text(), re.MULTILINE))
    return {tool: pins[tool] for tool in environment.tools if tool in pins}
