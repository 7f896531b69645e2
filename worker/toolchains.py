"""Where a toolchain's interpreter lies, and which versions it holds.

An environment's folder is named by the digest of its lock file: another lock is another folder, so a half-updated
environment cannot exist, and several checkouts on one machine share what is equal.
"""
from __future__ import annotations

import hashlib
import re
from pathlib import Path

from worker.plan import Environment

ROOT = Path(__file__).resolve().parent.parent
COMPLETE = ".complete"  # written last by the install step


def lock_digest(environment: Environment) -> str:
    """SHA-256 of the environment's lock file: its toolchain version in every cache key."""
    return hashlib.sha256((ROOT / environment.requirements).read_bytes()).hexdigest()


def environment_dir(environment: Environment, toolchains_dir: Path) -> Path:
    return toolchains_dir / f"{environment.name}-{lock_digest(environment)[:12]}"


def find_interpreter(environment: Environment, toolchains_dir: Path) -> Path | None:
    """The environment's Python, or None while it is not (wholly) installed."""
    folder = environment_dir(environment, toolchains_dir)
    return folder / "bin" / "python" if (folder / COMPLETE).exists() else None


def tool_versions(environment: Environment) -> dict[str, str]:
    """`{tool: version}` as the lock file pins them."""
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / environment.requirements).read_text(), re.MULTILINE))
    return {tool: pins[tool] for tool in environment.tools}
