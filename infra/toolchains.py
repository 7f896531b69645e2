"""Install toolchains' environments: `python -m infra.toolchains NAME…`; without names all that the targets declare."""
from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

from shared.settings import get_settings
from worker.plan import Environment, get_plans
from worker.stages.common import ONNX
from worker.toolchains import COMPLETE, ROOT, environment_dir, find_interpreter


def environments() -> dict[str, Environment]:
    """Every environment by name: the shared stages' one and each target's."""
    return {env.name: env for env in (ONNX, *(plan.environment for plan in get_plans().values()))}


def install(environment: Environment, toolchains_dir: Path) -> Path:
    """Install an environment from its lock file unless it is there; its folder. Safe to run several times at once.

    Raises:
        subprocess.CalledProcessError: the installer failed; what it left is removed at the next try.
    """
    folder = environment_dir(environment, toolchains_dir)
    toolchains_dir.mkdir(parents=True, exist_ok=True)
    with (toolchains_dir / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if find_interpreter(environment, toolchains_dir) is None:
            shutil.rmtree(folder, ignore_errors=True)
            uv = [sys.executable, "-m", "uv"]
            subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
            subprocess.run([*uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", "--require-hashes",
                            "--compile-bytecode", "-r", ROOT / environment.requirements], check=True)
            (folder / COMPLETE).touch()
    return folder


def main(names: list[str]) -> int:
    known = environments()
    for name in names or known:
        if name not in known:
            print(f"no toolchain {name!r}; there are: {', '.join(known)}", file=sys.stderr)
            return 2
        print(f"toolchain {name}: {install(known[name], get_settings().toolchains_dir)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
