"""Stages that follow a script, run by a real toolhost. Each run leaves two lines in the counter's file.

The script of a stage may say: `gate` (a file to wait for; with the process's id at its end it lets that run alone
through), `seconds`, `burn` (CPU, without end, in a grandchild as well), `eat` (memory, without end), `fill_bytes` (of
disk), `family` (a file for the ids of processes that ignore SIGTERM, some in sessions of their own), `size_bytes` (of
the artefact). With `data` prepare hands on the model's external data file of that name, and compile makes it the
artefact's last file.
"""
import os
import signal
import subprocess
import sys
import time

SLEEPER = [sys.executable, "-c",
           "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]


def prepare(job):
    with open(os.path.join(job["inputs"]["fetch"]["dir"], "model.onnx"), "rb") as file:
        data = file.read()
    script = play(job, "prepare")
    write(job, "prepared", data[::-1])
    if script.get("data"):
        copy(job, "fetch", script["data"], script["data"])
    return {"size": len(data)}


def compile_model(job):
    with open(os.path.join(job["inputs"]["prepare"]["dir"], "prepared"), "rb") as file:
        data = file.read()
    script = play(job, "compile")
    for suffix in script["suffixes"]:
        write(job, "model" + suffix, suffix.encode() + data + job["parameters"]["tag"].encode()
              + b"\0" * script.get("size_bytes", 0))
    if script.get("data"):
        copy(job, "prepare", script["data"], "model" + script["suffixes"][-1])
    return {}


def verify(job):
    play(job, "verify")
    return {"skipped": True}


def copy(job, stage, name, target):
    """In little memory, with its holes."""
    subprocess.run(["cp", "--sparse=always", os.path.join(job["inputs"][stage]["dir"], name),
                    os.path.join(job["output_dir"], target)], check=True)


def write(job, name, data):
    with open(os.path.join(job["output_dir"], name), "wb") as file:
        file.write(data)


def note(job, stage, what):
    line = f"{job['parameters']['tag']} {stage} {what} {os.getpid()} {time.time():.6f}\n"
    with open(job["parameters"]["counter"], "ab", buffering=0) as file:
        file.write(line.encode())


def play(job, stage):
    script = job["parameters"]["script"][stage]
    if script.get("family"):
        raise_family(script["family"])
    note(job, stage, "begins")
    while script.get("gate") and not (os.path.exists(script["gate"])
                                      or os.path.exists(f"{script['gate']}-{os.getpid()}")):
        time.sleep(0.01)
    time.sleep(script.get("seconds", 0))
    if script.get("burn"):
        burn()
    eaten = []
    while script.get("eat"):
        eaten.append(b"x" * (8 << 20))
        time.sleep(0.01)
    for number in range(script.get("fill_bytes", 0) >> 20):
        write(job, f"filler-{number}", b"x" * (1 << 20))
    note(job, stage, "ends")
    return script


def burn():
    """A child that waits for its own child, which burns in a session of its own; and so does this process."""
    program = "import subprocess as s, sys; s.run([sys.executable, '-c', 'while True: pass'], start_new_session=True)"
    subprocess.Popen([sys.executable, "-c", program])
    while True:
        pass


def raise_family(path):
    """A child, a child in a session of its own, and a daemon: orphaned, and in its own session. All ignore SIGTERM, the
    stage's own process too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    children = [subprocess.Popen(SLEEPER), subprocess.Popen(SLEEPER, start_new_session=True)]
    program = f"import subprocess as s; print(s.Popen({SLEEPER!r}, start_new_session=True, stdout=s.DEVNULL).pid)"
    daemon = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    with open(path + ".part", "w") as file:
        file.write(" ".join(map(str, [os.getpid(), *(child.pid for child in children), int(daemon.stdout)])))
    os.rename(path + ".part", path)
