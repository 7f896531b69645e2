"""Stages that do as they are told, run by a real toolhost: what they do wrong is what the worker must cope with.

`counter` in the parameters is a file that gets one line a run; `gates` maps a stage to a file that it waits for.
"""
import mmap
import os
import resource
import signal
import subprocess
import sys
import time

from shared.rules.bilingual import Bilingual, as_it_is
from worker import stage_api

LONG_S = 600  # of what hangs: longer than any test waits for its end


def count(job, name):
    counter = job["parameters"].get("counter")
    if counter:
        with open(counter, "a") as file:
            file.write(f"{name} {os.getpid()}\n")


def wait_at_gate(job, name):
    stage_api.log("waits at the gate")
    gate = (job["parameters"].get("gates") or {}).get(name)
    while gate and not os.path.exists(gate):
        stage_api.report(50, "at the gate")
        time.sleep(0.01)
    stage_api.log("through the gate")


def _write(job, name, data):
    with open(os.path.join(job["output_dir"], name), "wb") as file:
        file.write(data)


def prepare(job):
    count(job, "prepare")
    wait_at_gate(job, "prepare")
    with open(os.path.join(job["inputs"]["fetch"]["dir"], "model.onnx"), "rb") as file:
        _write(job, "prepared", file.read()[::-1])
    return {"size": os.path.getsize(os.path.join(job["output_dir"], "prepared"))}


def compile_model(job):
    count(job, "compile")
    wait_at_gate(job, "compile")
    write_artefact(job)
    return {}


def write_artefact(job):
    with open(os.path.join(job["inputs"]["prepare"]["dir"], "prepared"), "rb") as file:
        data = file.read()
    for suffix in job["parameters"]["suffixes"]:
        _write(job, "model" + suffix, suffix.encode() + data)


def verify(job):
    count(job, "verify")
    wait_at_gate(job, "verify")
    if job["parameters"].get("reject"):
        raise stage_api.StageError("accuracy_too_low", Bilingual("输出不同", "the outputs differ"),
                                   Bilingual("使用 fp32", "use fp32"))
    return {"skipped": True}


# --- for the toolhost alone -------------------------------------------------------------------------------------------


def succeed(job):
    stage_api.log("working")
    stage_api.report(40, "half way")
    _write(job, "out.bin", b"result")
    return {"threads": job["threads"], "cwd": os.getcwd(), "stdin": sys.stdin.read()}


def show_environment(job):
    return {"environment": dict(os.environ), "arguments": sys.argv, "flags": sys.flags.isolated}


def show_descriptors(job):
    return {"open": sorted(os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd")
                           if os.path.exists("/proc/self/fd/" + fd))}


def refuse(job):
    raise stage_api.StageError("unsupported_operator", Bilingual("没有 Frobnicate 的规则", "no rule for Frobnicate"),
                               Bilingual("去掉它", "remove it"), vendor_code="E10001")


def refuse_strangely(job):
    raise stage_api.StageError("compile_failed", as_it_is("nul\0 and surrogate \udfff"), vendor_code=17)


def refuse_with_unknown_code(job):
    error = stage_api.StageError("compile_failed", as_it_is("no code of ours"))
    error.code = "odd\ud800"
    raise error


def fall_over(job):
    print("the last line before the fall")
    raise RuntimeError("boom")


def fall_over_loudly(job):
    raise RuntimeError(f"\x1b[31mno {sys.prefix}/x.bin\x1b[0m in {os.getcwd()}/out\n"
                       "  see <a.B object at 0x7f12a4b5c6d7>")


def exit_quietly(job):
    os._exit(3)


def segfault(job):
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(LONG_S)


def allocate_too_much(job):
    return {"size": len(bytearray(8 << 30))}


def fail_in_cpp(job):
    raise RuntimeError("std::bad_alloc")


def feed_grandchildren(job):
    """Each stays below the limit that a process has; together, and in sessions of their own, they are above it."""
    program = "b = bytearray(200 << 20); b[::4096] = b'x' * len(b[::4096]); import time; " \
              f"time.sleep({LONG_S})"
    children = [subprocess.Popen([sys.executable, "-c", program], start_new_session=True) for _ in range(3)]
    return {"ended": [child.wait() for child in children]}


def touch_memory(job):
    data = mmap.mmap(-1, 150 << 20)
    for offset in range(0, len(data), 4096):
        data[offset] = 1
    time.sleep(0.5)
    return {}


def sleep_long(job):
    stage_api.report(1, "asleep")
    time.sleep(LONG_S)


def burn(job):
    """Counts in a file, so that a test sees whether it runs."""
    number = 0
    while True:
        number += 1
        path = os.path.join(job["output_dir"], "beats")
        with open(path + ".part", "w") as file:
            file.write(str(number))
        os.rename(path + ".part", path)
        time.sleep(0.005)


def burn_cpu(job):
    resource.setrlimit(resource.RLIMIT_CPU, (1, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    while True:
        pass


def burn_beyond_its_bound(job):
    with stage_api.cpu_bound(0, stage_api.StageError("model_too_complex", Bilingual("过于复杂", "too complex"))):
        while True:
            pass


def burn_after_its_bound(job):
    with stage_api.cpu_bound(0, stage_api.StageError("model_too_complex", Bilingual("过于复杂", "too complex"))):
        pass
    end = time.process_time() + 2.5
    while time.process_time() < end:
        pass
    return {}


def burn_within_a_wider_bound(job):
    resource.setrlimit(resource.RLIMIT_CPU, (1, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    with stage_api.cpu_bound(100, stage_api.StageError("model_too_complex", Bilingual("过于复杂", "too complex"))):
        while True:
            pass


def allocate_beyond_its_bound(job):
    with stage_api.memory_bound(64 << 20):
        try:
            return {"got": len(bytearray(128 << 20))}
        except MemoryError:
            pass
    return {"got": 0, "later": len(bytearray(128 << 20))}


def optimize_within_a_second(job):
    from worker.stages import bounds, optimize

    bounds.CPU_S = 0
    return optimize.run(job)


def optimize_in_little_memory(job):
    from worker.stages import bounds, optimize

    bounds.LOADING_BYTES = 256 << 20
    return optimize.run(job)


def write_large_file(job):
    _write(job, "large", b"\0" * (2 << 20))


def write_many_files(job):
    for number in range(1000):
        _write(job, str(number), b"\0" * (1 << 20))
        time.sleep(0.02)
    return {}


def write_log(job):
    for number in range(2000):
        print(f"line {number}\rprogress")
    raise stage_api.StageError("compile_failed", as_it_is("see the log"))


def say_much(job):
    print("x" * (1 << 20))
    return {}


def leave_nan(job):
    return {"value": float("nan")}


def leave_much(job):
    return {"text": "x" * (9 << 20)}


def leave_link(job):
    os.symlink("/etc/passwd", "result.json")
    os._exit(0)


def leave_list(job):
    with open("result.json", "w") as file:
        file.write("[1]")
    os._exit(0)


def write_nonsense_progress(job):
    fd = stage_api._progress_fd
    os.write(fd, b"not json\n[1]\n{\"percent\": \"x\", \"text\": 1, \"event\": \"exited\", \"id\": 1}\n")
    os.write(fd, b"y" * (1 << 18))
    os.write(fd, b"\n{\"percent\": NaN, \"text\": \"\"}\n")
    time.sleep(0.1)
    stage_api.report(70, "after all")
    time.sleep(0.3)
    return {}


def _leave_family(job):
    """A child, a child in a session of its own, and a daemon (orphaned, own session); tells their pids."""
    sleeper = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
                                     f"time.sleep({LONG_S})"]
    children = [subprocess.Popen(sleeper), subprocess.Popen(sleeper, start_new_session=True)]
    program = f"import subprocess as s; print(s.Popen({sleeper!r}, start_new_session=True, stdout=s.DEVNULL).pid)"
    daemon = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    pids = [os.getpid(), *(child.pid for child in children), int(daemon.stdout)]
    path = os.path.join(job["output_dir"], "family")
    with open(path + ".part", "w") as file:
        file.write(" ".join(map(str, pids)))
    os.rename(path + ".part", path)
    return pids


def leave_family(job):
    return {"pids": _leave_family(job)}


def leave_family_and_crash(job):
    _leave_family(job)
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(LONG_S)


def stay_with_family(job):
    _leave_family(job)
    time.sleep(LONG_S)
