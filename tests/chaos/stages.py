"""Short stages that tell in a file when they ran: for which task, under which claim. Run by a real toolhost.

The model is JSON in an ONNX file: how long each stage takes, how many grandchildren it leaves, and whether it is
refused.
"""
import json
import os
import subprocess
import time

from shared.rules.bilingual import Bilingual
from worker.stage_api import StageError

COUNTER = "CHAOS_COUNTER"  # the environment variable that names the file


def as_onnx(content):
    """An ONNX file with an empty graph, whose `doc_string` holds `content`: fetch takes nothing else."""
    text = json.dumps(content).encode()
    return b"\x08\x08\x3a\x00\x32" + bytes([len(text) & 127 | 128, len(text) >> 7]) + text


def prepare(job):
    return _work(job, "fetch", "model.onnx", "model.json")


def split(job):
    return _work(job, "prepare", "model.json", "model.json")


def compile_model(job):
    return _work(job, "split", "model.json", "model.xml", "model.bin")


def verify(job):
    facts = _work(job, "compile", "model.bin")
    if _read(job, "compile", "model.bin")["refused"]:
        raise StageError("accuracy_too_low", Bilingual("模型如此要求", "the model says so"))
    return facts


def _read(job, stage, name):
    with open(os.path.join(job["inputs"][stage]["dir"], name), "rb") as file:
        content = file.read()
    return json.loads(content[7:] if name.endswith(".onnx") else content)


def _work(job, source, name, *outputs):
    """Take as long as the model says, leave what it says, and pass it on."""
    *_, worker, claim, stage, _, _ = job["output_dir"].split(os.sep)
    task, _, epoch = claim.rpartition("-")
    told = {"worker": worker, "task": task, "epoch": int(epoch), "stage": stage, "pid": os.getpid()}
    _tell({"what": "began", **told})
    model = _read(job, source, name)
    for _ in range(model["grandchildren"].get(stage, 0)):
        subprocess.Popen(["sleep", "300"], start_new_session=True)
    time.sleep(model["seconds"][stage])
    for output in outputs:
        with open(os.path.join(job["output_dir"], output), "w", encoding="utf-8") as file:
            json.dump(model, file)
    _tell({"what": "ended", **told})
    return {}


def _tell(line):
    """One write, so that lines of several processes do not mix."""
    fd = os.open(os.environ[COUNTER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, (json.dumps({"at": time.time(), **line}) + "\n").encode())
    os.close(fd)
