"""The embedded profile in the foreground: `python -m infra.serve --port 8000 --data ./data --workers 1`.

Needs nothing but Python. Models lie at DATA/buckets/<bucket>/<object>. Ctrl-C or SIGTERM ends all of it.
"""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from infra.first_key import needs_keys
from infra.processes import Processes, embedded_environment
from shared.settings import WrongSettings
from shared.triggers.rule_file import WrongRules, get_rules


def main() -> None:
    cli = argparse.ArgumentParser(description="the embedded profile in the foreground")
    cli.add_argument("--host", default="127.0.0.1")
    cli.add_argument("--port", type=int, default=8000)
    cli.add_argument("--data", type=Path, default=Path("data"))
    cli.add_argument("--workers", type=int, default=1)
    args = cli.parse_args()
    try:
        get_rules()  # before anything runs: the supervisor would start what ends at once again and again
    except (WrongSettings, WrongRules) as error:
        sys.exit(str(error))
    data_dir = args.data.resolve()
    command = Processes(data_dir, args.host, args.port, args.workers).command(foreground=True)
    print(f"API http://{args.host}:{args.port}/docs   models below {data_dir / 'buckets'}/<bucket>/   Ctrl-C ends it",
          flush=True)
    environment = embedded_environment(data_dir)
    if needs_keys(environment, args.host):
        print(f"requests have to show a key: MODEL_CONVERT_STORE_URL={environment['MODEL_CONVERT_STORE_URL']} "
              "python -m infra.keys create --help", flush=True)
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main()
