"""A process that has imported the toolchain and forks a child for each conversion: `python warm_forks.py AT_ONCE`.

Says "ready" when it is warm; then reads one line, a JSON list of the arguments of `conversion_script.main`, runs them,
and prints how many seconds they took.
"""
import json
import os
import sys
import time

import conversion_script
import onnx  # noqa: F401  (a warm toolchain of ours has it imported as well)


def run(jobs, at_once):
    waiting, running = list(jobs), set()
    while waiting or running:
        while waiting and len(running) < at_once:
            arguments = waiting.pop(0)
            pid = os.fork()
            if pid == 0:
                os._exit(conversion_script.main(*arguments))
            running.add(pid)
        pid, status = os.wait()
        running.remove(pid)
        if status:
            sys.exit(f"a conversion ended with status {status}")


if __name__ == "__main__":
    print("ready", flush=True)
    work = json.loads(sys.stdin.readline())
    begun = time.perf_counter()
    run(work, int(sys.argv[1]))
    print(time.perf_counter() - begun, flush=True)
    sys.stdin.read()  # stay until whoever measures has looked
