"""A tool's progress, read from its log. Standard library only, Python 3.8+."""
import os
import re
import threading
from contextlib import contextmanager

from worker.stage_api import report

_LOOK_S = 0.3
_TAIL_BYTES = 1 << 16  # older output than that is passed over


@contextmanager
def following(phases, log="log.txt", first=0.0, last=100.0):
    """While the block runs, tell the progress that the tool's log shows.

    `phases` is a list of `(pattern, share)` in the tool's order: once a line matches the pattern, everything up to its
    share (0 to 1) of `first` to `last` percent is done. Of several the later wins; going backwards never happens.
    """
    ended = threading.Event()
    compiled = [(re.compile(pattern), first + (last - first) * share) for pattern, share in phases]
    position = os.path.getsize(log) if os.path.exists(log) else 0
    follower = threading.Thread(target=_follow, args=(compiled, log, position, ended), daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()


def _follow(phases, log, position, ended):
    reached = 0
    while not ended.wait(_LOOK_S):
        position, lines = _read_lines(log, position)
        for line in lines:
            found = [number for number in range(reached, len(phases)) if phases[number][0].search(line)]
            if found:
                reached = found[-1] + 1
                report(phases[found[-1]][1], line.strip())


def _read_lines(log, position):
    """What was added since `position`, up to the last whole line; a carriage return ends one too (progress bars)."""
    try:
        with open(log, "rb") as file:
            position = max(position, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
            file.seek(position)
            data = file.read()
    except OSError:
        return position, []
    whole = data[:max(data.rfind(b"\n"), data.rfind(b"\r")) + 1]
    return position + len(whole), re.split(r"[\r\n]+", whole.decode(errors="replace"))
