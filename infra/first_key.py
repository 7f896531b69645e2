"""The first key of a service that `make up` starts where keys are needed. It goes into service.env, which its owner
alone can read, and is made only where the store has no good one."""
from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.access.loopback import is_loopback

AUTH, KEY = "MODEL_CONVERT_AUTH", "MODEL_CONVERT_KEY"
COMMAND = (sys.executable, "-m", "infra.keys")
MAY_DO_EVERYTHING = ("--tenant", "default", "--scopes", "read,write,admin", "--prefix", "*", "--name", "first key")


class NoFirstKey(Exception):
    """It cannot be made. The text says why."""


def needs_keys(environment: Mapping[str, str], host: str) -> bool:
    """Whether a gateway with this environment that listens there asks for keys."""
    auth = environment.get(AUTH)
    return auth == "keys" or (auth is None and not is_loopback(host))


def find_or_make_key(path: Path, environment: Mapping[str, str], command: Sequence[str] = COMMAND) -> str | None:
    """The key that stands in the file, else a new one; None where there are keys that others have made.

    Raises:
        NoFirstKey.
    """
    if path.exists():
        for line in path.read_text().splitlines():
            name, _, value = line.partition("=")
            if name == KEY:
                return shlex.split(value)[0]
    listed = _run([*command, "list", "-o", "json"], environment)
    if any(key["state"] == "good" for key in json.loads(listed)):
        return None
    return str(json.loads(_run([*command, "create", "-o", "json", *MAY_DO_EVERYTHING], environment))["key"])


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise NoFirstKey(f"the first key cannot be made: {done.stderr.strip()[-500:]}")
    return done.stdout
