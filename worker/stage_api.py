"""What a stage's code may use, inside whichever interpreter runs it. Standard library only, Python 3.8+.

A stage is a module with a function `run(job)` that returns its facts: a dict of plain JSON that does not depend on
time, machine or directory, since it enters the keys of later stages. `job` is a dict:

    parameters   what the stage declared to read, in its normal form (docs/new-target.md)
    inputs       {stage name: {"dir": folder with that stage's files, "facts": its facts}}
    output_dir   an empty folder; every file left there is part of the result
    threads      how many threads the stage should use
"""
import json
import os
import resource
import sys
import time
from contextlib import contextmanager

from shared.rules.refusal import Refusal as StageError

__all__ = ["StageError", "cpu_bound", "is_out_of_memory", "log", "memory_bound", "report"]

# Set by the toolhost in the child.
_progress_fd = None
_last_words = ""  # the file with the refusal of a stage that the kernel ends for its CPU time


_OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate", "annot allocate memory", "can't alloc")


def is_out_of_memory(error):
    """Whether an exception tells of a failed allocation; vendors' libraries wrap those in errors of their own."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


def report(percent, text=""):
    """Tell how far the stage is, 0 to 100; shown to clients while the stage runs. Never fails."""
    if _progress_fd is not None:
        line = json.dumps({"percent": max(0.0, min(100.0, float(percent))), "text": str(text)[:200]}) + "\n"
        try:
            os.write(_progress_fd, line.encode())
        except OSError:
            pass


@contextmanager
def cpu_bound(seconds, refusal):
    """While the block runs: after so many seconds of computing the stage fails with `refusal`.

    The kernel ends the process wherever it computes, inside a vendor's library too. Where the stage's own limit comes
    first, or the stage runs outside of a worker, nothing changes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    end = int(time.process_time() + seconds) + 1
    if not _last_words or (soft != resource.RLIM_INFINITY and soft <= end):
        yield
        return
    with open(_last_words, "w", encoding="utf-8") as file:
        json.dump(refusal.to_json(), file)
    resource.setrlimit(resource.RLIMIT_CPU, (end, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
        os.remove(_last_words)


@contextmanager
def memory_bound(size_bytes):
    """While the block runs: an allocation fails that would take more than `size_bytes` beyond what there is now.

    The value is whether that is so: where the stage's own limit comes first, nothing changes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with open("/proc/self/statm", encoding="ascii") as file:
        end = int(file.read().split()[5]) * resource.getpagesize() + size_bytes
    if soft != resource.RLIM_INFINITY and soft <= end:
        yield False
        return
    resource.setrlimit(resource.RLIMIT_DATA, (end, hard))
    try:
        yield True
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def log(text):
    """One line into the stage's log."""
    print(text, file=sys.stderr, flush=True)
