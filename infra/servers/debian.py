"""Programs from Debian: `python -m infra.servers.debian PROGRAM=PACKAGE…` installs the packages that are missing."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.servers.base import CannotStart, Log

POLICY = Path("/usr/sbin/policy-rc.d")  # Debian policy manual 9.3.3.1: exit 101 forbids starting a service


def install(packages: list[str], log: Log = print) -> None:
    """Install packages (and nothing that they merely recommend); with root on Debian only.

    Raises:
        CannotStart: not root, no apt-get, or it failed.
    """
    apt = shutil.which("apt-get")
    wanted = " ".join(packages)
    if not apt or os.geteuid() != 0:
        raise CannotStart(f"{wanted} cannot be installed here (that takes root on Debian); "
                          f"run: apt-get install --no-install-recommends {wanted}")
    log(f"installing {wanted} (apt-get, about a minute)")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _no_service_start():
        for step in (["update"], ["install", "--no-install-recommends", *packages]):
            done = subprocess.run([apt, "-y", "-q", "-o", "DPkg::Lock::Timeout=300", *step], env=environment, text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode != 0:
                raise CannotStart(f"apt-get {step[0]} failed with {done.returncode}:\n{done.stdout[-1500:]}")


def install_missing(packages: list[str], log: Log = print) -> None:
    """Install those of the packages that dpkg does not show as installed.

    Raises:
        CannotStart: as `install`.
    """
    missing = [package for package in packages if not _is_installed(package)]
    if missing:
        install(missing, log)


def _is_installed(package: str) -> bool:
    query = shutil.which("dpkg-query")
    if not query:
        return False
    done = subprocess.run([query, "-W", "-f", "${Status}", package], capture_output=True, text=True)
    return done.stdout.endswith(" installed")


@contextmanager
def _no_service_start() -> Iterator[None]:
    """Keep packages from starting their services, unless the machine has a policy of its own."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def main(wanted: list[str]) -> int:
    missing = [package for program, _, package in (word.partition("=") for word in wanted) if not shutil.which(program)]
    try:
        if missing:
            install(missing)
    except CannotStart as error:
        print(f"{error} (tests that need it skip; in CI they fail)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
