"""Runs `atc` inside the stage's child: its log is the stage's, its end the stage's end."""
import math
import os
import re
import signal
import subprocess
import threading

from worker.platforms.huawei import reasons
from worker.stage_api import is_out_of_memory, report

FAILURE = "ATC run failed"  # source: GE, api/atc/main_impl.cc

_KEPT_BYTES = 8 << 20  # of the output, its end: with log=debug there are gigabytes
_WRITERS_END_S = 5.0  # how long what atc has started may hold its output open after it
_MAX_COMPILERS = 32  # source: ATC user guide, "Environment variables", TE_PARALLEL_COMPILER


class Finished:
    """`output` is what atc and its children printed, at most the last megabytes; `code` its exit code."""

    def __init__(self, code, output):
        self.code = code
        self.output = output

    @property
    def succeeded(self):
        """What atc says; whether it is so, the artefact shows."""
        return self.code == 0 and FAILURE not in self.output


def run_atc(options, threads, doing, first=0.0, last=100.0):
    """Run `atc --name=value …` here and wait for it. Progress goes from `first` to `last` percent, `doing` its text.

    Ends this process by the same signal where atc was ended by one.

    Raises:
        StageError: `toolchain_broken`, it cannot be started.
        MemoryError: it ran out of memory.
    """
    report(first, doing)
    environment = dict(os.environ, TE_PARALLEL_COMPILER=str(max(1, min(threads, _MAX_COMPILERS))),
                       ASCEND_SLOG_PRINT_TO_STDOUT="1")  # --log says how much
    try:
        process = subprocess.Popen(command(options), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
    except OSError as error:
        raise reasons.CANNOT_START(said=error.strerror) from error
    reader = _Reader(process.stdout, doing, first, last)
    reader.start()
    code = process.wait()
    reader.join(_WRITERS_END_S)
    output = reader.text()
    number = -code if code < 0 else code - 128 if code > 128 else 0  # the second is how a shell script tells it
    if number in {entry.value for entry in signal.Signals}:
        _die_of(number, output)
    if code:
        _raise_if_out_of_memory(output)
    return Finished(code, output)


def command(options):
    """The arguments of the command line; an option without a value is left out."""
    return ["atc"] + [f"--{name}={value}" for name, value in options.items() if value is not None]


def _die_of(number, output):
    """The worker tells a crash, and a kill for want of memory, by the stage's own end."""
    _raise_if_out_of_memory(output)
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise reasons.ENDED_BY_SIGNAL(number=number)  # one that ends nobody


def _raise_if_out_of_memory(output):
    """Its operator compiler is written in Python."""
    if is_out_of_memory(output) or re.search(r"^MemoryError\b", output, re.MULTILINE):
        raise MemoryError("atc ran out of memory")


class _Reader(threading.Thread):
    """Copies the output into the stage's log as it comes, and keeps its end.

    ATC prints no percentage. Its operator compiler prints a dot now and then: each brings the progress a little nearer
    to its end, which it never reaches by itself.
    """

    def __init__(self, pipe, doing, first, last):
        super().__init__(daemon=True)
        self._pipe, self._doing, self._first, self._last = pipe, doing, first, last
        self._chunks = []
        self._kept = 0
        self._dots = 0

    def run(self):
        while True:
            chunk = os.read(self._pipe.fileno(), 1 << 16)
            if not chunk:
                return
            os.write(2, chunk)
            self._keep(chunk)
            self._tell(chunk)

    def text(self):
        return b"".join(self._chunks)[-_KEPT_BYTES:].decode(errors="replace")

    def _keep(self, chunk):
        self._chunks.append(chunk)
        self._kept += len(chunk)
        while self._kept - len(self._chunks[0]) > _KEPT_BYTES:
            self._kept -= len(self._chunks.pop(0))

    def _tell(self, chunk):
        dots = sum(len(run) for run in re.findall(rb"(?m)^\.+|\.{2,}", chunk))
        if dots:
            self._dots += dots
            share = 1 - math.exp(-self._dots / 60.0)
            report(self._first + (self._last - self._first) * share, self._doing)
