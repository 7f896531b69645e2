"""The search for the vendor's interpreter with MagicMind, and for its MLU. Runs in the worker.

Settings, all of them optional:

    MODEL_CONVERT_CAMBRICON_PYTHON          the interpreter; else the first `python3` that can import MagicMind
    MODEL_CONVERT_CAMBRICON_REMOTE          HOST:PORT of a MagicMind RPC server with an MLU, to quantize without one
    MODEL_CONVERT_CAMBRICON_CROSS_COMPILER  folder of the cross toolchain that edge chips are linked with
    NEUWARE_HOME                            the Neuware folder, of the vendor's image if nothing else is said
"""
from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from shared.settings import get_settings
from worker.plan import Located
from worker.process import clean_environment

logger = logging.getLogger(__name__)

PYTHON = "MODEL_CONVERT_CAMBRICON_PYTHON"
REMOTE = "MODEL_CONVERT_CAMBRICON_REMOTE"
CROSS_COMPILER = "MODEL_CONVERT_CAMBRICON_CROSS_COMPILER"
NEUWARE = "NEUWARE_HOME"
DEFAULT_NEUWARE = "/usr/local/neuware"  # of the vendor's image (magicmind_cloud, README, environment)
USUAL = ("python3", "/usr/bin/python3", "/usr/local/bin/python3")
MLU = "MODEL_CONVERT_CAMBRICON_MLU"  # told to the stages: the device's name, or "none"
PASSED_ON = (REMOTE, CROSS_COMPILER, "MLU_VISIBLE_DEVICES")
OLDEST = (3, 8)
TIMEOUT_S = 120.0  # a cold import of the vendor's libraries, and a driver that wakes up


def locate() -> Located | None:
    """The vendor's installation, or None. The interpreters are asked once in a process.

    `versions` tell whether there is an MLU, too: what a worker without one left out must not come from the cache of one
    that has it.
    """
    named = os.environ.get(PYTHON)
    return _locate((named,) if named else USUAL, tuple(sorted(_variables().items())), bool(named))


def _variables() -> dict[str, str]:
    variables = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    home = os.environ.get(NEUWARE, DEFAULT_NEUWARE)
    if Path(home).is_dir():
        libraries = [str(Path(home) / "lib64"), os.environ.get("LD_LIBRARY_PATH", "")]
        variables |= {NEUWARE: home, "LD_LIBRARY_PATH": ":".join(filter(None, libraries))}
    return variables


@lru_cache(maxsize=8)
def _locate(candidates: tuple[str, ...], items: tuple[tuple[str, str], ...], named: bool) -> Located | None:
    variables = dict(items)
    for interpreter in dict.fromkeys(filter(None, map(shutil.which, candidates))):
        told = _probe(interpreter, variables)
        problem = _problem(told)
        if not problem:
            versions = _versions(told, variables)
            return Located(Path(interpreter), variables | {MLU: versions["mlu"]}, versions)
        # Every machine has a python3: that it is not the vendor's is worth no word unless somebody said that it is.
        logger.log(logging.ERROR if named or "error" not in told else logging.DEBUG, "%s: %s", interpreter, problem)
    return None


def _problem(told: dict) -> str:
    if "error" in told:
        return f"MagicMind cannot be imported: {told['error']}"
    if tuple(told["python"]) < OLDEST:
        found, wanted = (".".join(map(str, version)) for version in (told["python"], OLDEST))
        return f"it is Python {found}; stages need {wanted} or later"
    return "" if told["magicmind"] else "nothing tells the version of its MagicMind"


def _probe(interpreter: str, variables: dict[str, str]) -> dict:
    """What probe.py tells under this interpreter, isolated (-I) as the stages' host is."""
    script = Path(__file__).with_name("probe.py")
    try:
        done = subprocess.run([interpreter, "-I", script], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env=clean_environment(get_settings().toolchain_env) | variables, timeout=TIMEOUT_S,
                              check=False)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {TIMEOUT_S:g} s"}
    except (OSError, IndexError, ValueError) as error:
        return {"error": f"the interpreter does not run, or crashes at the import ({error})"}


def _versions(told: dict, variables: dict[str, str]) -> dict[str, str]:
    versions = {"magicmind": told["magicmind"], "mlu": _device_name() if told["devices"] else "none"}
    if folder := variables.get(CROSS_COMPILER):
        versions["cross_compiler"] = Path(folder).name
    return versions


def _device_name() -> str:
    """`MLU370`, as the vendor's monitor tells; "unknown" without it."""
    try:
        done = subprocess.run(["cnmon"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(r"\bMLU\d{3}", done.stdout)
    return found[0] if found else "unknown"
