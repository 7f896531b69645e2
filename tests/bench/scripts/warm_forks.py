"""A process that has imported a target's script and forks a child for each conversion: `python warm_forks.py NAME
AT_ONCE`.

Says "ready" when it is warm; then reads one line, a JSON list of the arguments of the script's `main`, runs them, and
prints how many seconds they took. What the children print goes to stderr.
"""
import importlib
import json
import os
import sys
import time

script = importlib.import_module(sys.argv[1])

import onnx  # noqa: E402, F401  (a warm toolchain of ours has it imported as well)


def run(jobs, at_once):
    waiting, running = list(jobs), set()
    while waiting or running:
        while waiting and len(running) < at_once:
            arguments = waiting.pop(0)
            pid = os.fork()
            if pid == 0:
                os.dup2(2, 1)
                os._exit(script.main(*arguments))
            running.add(pid)
        pid, status = os.wait()
        running.remove(pid)
        if status:
            sys.exit(f"a conversion ended with status {status}")


if __name__ == "__main__":
    print("ready", flush=True)
    work = json.loads(sys.stdin.readline())
    begun = time.perf_counter()
    run(work, int(sys.argv[2]))
    print(time.perf_counter() - begun, flush=True)
    sys.stdin.read()  # stay until whoever measures has looked
