"""Runs inside a toolchain's interpreter: imports the toolchain once, then forks a child per stage.

Standard library only, Python 3.8+. Started by `worker.process` as
`python -I toolhost.py ROOT SOCKET_FD MODULE…`; talks JSON lines over the inherited socket.

    worker -> host   {"id", "entry", "dir", "limits"}          run a stage; its job is DIR/job.json
    host -> worker   {"event": "ready", "seconds"}
                     {"event": "started", "id", "pid"}          the child leads a session and group of its own
                     {"event": "progress", "id", "percent", "text"}
                     {"event": "exited", "id", "code", "signal", "peak_memory_bytes"}

The child leaves DIR/result.json, {"facts"} or {"error"}, whole or not at all. Where the kernel ends it for its CPU
time, DIR/last_words.json may say what the error is, and its code NO_ROOM says that it could not write: by the time that
anybody looks, there may be room again. Its output is in DIR/log.txt.

It adopts its own orphans, so whatever the host itself adopts was left by a dead child and is killed. When the worker
goes away the socket ends, and the host kills all that descends from it; when the host goes away the kernel kills the
children (PR_SET_PDEATHSIG), and the worker the rest.
"""
import ctypes
import errno
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LAST_WORDS = "last_words.json"  # see stage_api.cpu_bound
NO_ROOM = 200 + errno.ENOSPC  # a code that no tool ends with
MAX_LINE_BYTES = 1 << 16  # of progress: what a child writes is not trusted


def prctl(option, value):
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


class Host:
    def __init__(self, link):
        self.link = link
        self.jobs = {}  # pid -> job id
        self.pipes = {}  # progress pipe -> [job id, bytes not yet a line]
        self.wake_read, wake_write = os.pipe()
        for end in (self.wake_read, wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def send(self, **message):
        self.link.sendall(json.dumps(message).encode() + b"\n")

    def serve(self):
        """Until the worker closes the socket."""
        received = b""
        while True:
            readable, _, _ = select.select([self.link, self.wake_read, *self.pipes], [], [])
            for source in readable:
                if source is self.link:
                    data = self.link.recv(1 << 16)
                    if not data:
                        return
                    *lines, received = (received + data).split(b"\n")
                    for line in lines:
                        self.start(json.loads(line))
                elif source == self.wake_read:
                    os.read(self.wake_read, 4096)
                else:
                    self.relay(source)
            self.reap()

    def start(self, job):
        read_end, write_end = os.pipe()
        host = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            run_child(job, host, write_end, [self.link.fileno(), self.wake_read, *self.pipes])
        os.close(write_end)
        self.jobs[pid] = job["id"]
        self.pipes[read_end] = [job["id"], b""]
        self.send(event="started", id=job["id"], pid=pid)

    def relay(self, pipe):
        job_id, rest = self.pipes[pipe]
        data = os.read(pipe, 1 << 16)
        if not data:
            os.close(pipe)
            del self.pipes[pipe]
            return
        *lines, rest = (rest + data).split(b"\n")
        self.pipes[pipe][1] = rest[:MAX_LINE_BYTES]
        for line in lines[-1:]:  # only the newest matters
            try:
                told = json.loads(line)
                percent, text = float(told["percent"]), str(told["text"])
            except (ValueError, TypeError, KeyError):
                continue  # the tool wrote into a descriptor that is not its own
            if 0.0 <= percent <= 100.0:
                self.send(event="progress", id=job_id, percent=percent, text=text[:200])

    def reap(self):
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            job_id = self.jobs.pop(pid, None)
            if job_id is not None:  # else an orphan that we killed
                self.kill_all(spare=self.jobs)
                killed = os.WIFSIGNALED(status)
                self.send(event="exited", id=job_id, code=None if killed else os.WEXITSTATUS(status),
                          signal=os.WTERMSIG(status) if killed else None, peak_memory_bytes=usage.ru_maxrss * 1024)

    @staticmethod
    def kill_all(spare=()):
        """Kill whatever descends from this host but for the children to `spare`, and theirs."""
        from worker import process_trees
        process_trees.kill(lambda: process_trees.find_descendants(os.getpid(), spare))


def run_child(job, host, progress_fd, inherited):
    """Never returns."""
    code = 1
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        if os.getppid() != host:  # it died in between
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for fd in inherited:
            os.close(fd)
        enter(job, progress_fd)
        write_result(job["dir"], run_stage(job))
        code = 0
    except BaseException as error:
        code = NO_ROOM if is_no_room(error) else 1
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # a log that is full, or closed, must not let the child go on as a host
                pass
        ctypes.CDLL(None).fflush(None)  # C's own buffers: a tool's last words are there
        os._exit(code)


def is_no_room(error):
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def enter(job, progress_fd):
    """Move into the stage's own directory, log and limits."""
    log = os.open(os.path.join(job["dir"], "log.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(job["dir"])
    os.environ.update(TMPDIR=job["dir"], HOME=job["dir"])
    for name, value in job["limits"].items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # At the hard limit of CPU time the kernel kills at once; at the soft one it says why (SIGXCPU).
        resource.setrlimit(kind, (soft, hard if name == "RLIMIT_CPU" else soft))
    from worker import stage_api
    stage_api._progress_fd = progress_fd
    stage_api._last_words = os.path.join(job["dir"], LAST_WORDS)


def run_stage(job):
    """{"facts": …} or {"error": …}."""
    from worker import reasons
    from worker.stage_api import StageError, is_out_of_memory
    with open(os.path.join(job["dir"], "job.json"), encoding="utf-8") as file:
        arguments = json.load(file)
    module, _, function = job["entry"].partition(":")
    try:
        return {"facts": getattr(importlib.import_module(module), function)(arguments)}
    except StageError as error:
        return {"error": error.to_json(), "found": error.found}
    except Exception as error:
        traceback.print_exc()
        if is_out_of_memory(error):
            return {"error": reasons.NO_MEMORY_LEFT().to_json()}
        if is_no_room(error):
            return {"error": reasons.DISK_FULL().to_json()}
        return {"error": reasons.RAISED(kind=type(error).__name__, said=str(error)[:2000]).to_json()}


def write_result(folder, result):
    path = os.path.join(folder, "result.json")
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(result, file, allow_nan=False)
    os.rename(path + ".part", path)


def main(root, link_fd, modules):
    started = time.monotonic()
    sys.path.insert(0, root)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the worker's to handle
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # children share these pages: no collection should write to them
    host = Host(socket.socket(fileno=link_fd))
    try:
        host.send(event="ready", seconds=round(time.monotonic() - started, 3))
        host.serve()
    except OSError:
        pass  # the worker is gone
    finally:
        host.kill_all()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
