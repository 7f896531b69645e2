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
import sys

from shared.rules.refusal import Refusal as StageError

__all__ = ["StageError", "is_out_of_memory", "log", "report"]

_progress_fd = None  # set by the toolhost in the child


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


def log(text):
    """One line into the stage's log."""
    print(text, file=sys.stderr, flush=True)
