"""Toy stages of a target with passes over the model. `outcomes` says with which code a stage fails, by the stage's name
and whether the passes ran: `compile-simplified`, `compile-as-sent`."""
import os

from shared.rules.bilingual import Bilingual
from tests.integration.toy_stages import count, wait_at_gate
from worker import stage_api


def inspect(job):
    count(job, "inspect")
    return {}


def optimize(job):
    simplified = job["parameters"]["simplify"]
    name = "simplified" if simplified else "as-sent"
    with open(os.path.join(job["output_dir"], "kind"), "w") as file:
        file.write(name)
    _do_as_told(job, "optimize", name)
    return {"kind": name, "rewritten": simplified and job["parameters"]["rewrites"]}


def reference(job):
    kind = job["inputs"]["optimize"]["facts"]["kind"]
    _do_as_told(job, "reference", kind)
    return {"kind": kind}


def compile_as_told(job):
    kind = job["inputs"]["optimize"]["facts"]["kind"]
    _do_as_told(job, "compile", kind)
    for suffix in job["parameters"]["suffixes"]:
        with open(os.path.join(job["output_dir"], "model" + suffix), "w") as file:
            file.write(kind + suffix)
    return {"kind": kind, "precision": "fp16"}


def verify_as_told(job):
    kind, accepted = job["inputs"]["compile"]["facts"]["kind"], job["parameters"]["accept_accuracy"]
    failed = (job["parameters"]["outcomes"] or {}).get(f"verify-{kind}") == "accuracy_too_low"
    facts = {"skipped": False, "min_cosine": 0.9, "passed": not failed, "accepted": failed and accepted, "samples": 1,
             "outputs": [{"name": "y", "cosine": 0.5 if failed else 0.99, "worst_sample_cosine": 0.5,
                          "max_abs_error": 1.0, "max_rel_error": 1.0}]}
    _do_as_told(job, "verify", kind, facts, accepted)
    return facts


def _do_as_told(job, stage, kind, found=None, accepted=False):
    name = f"{stage}-{kind}"
    count(job, name)
    wait_at_gate(job, name)
    code = (job["parameters"]["outcomes"] or {}).get(name)
    if code == "crash":
        os.abort()
    if code and not accepted:
        error = stage_api.StageError(code, Bilingual(f"{kind} 不行", f"{kind} does not do"),
                                     Bilingual(f"不用 {kind}", f"not {kind}"), vendor_code=f"E-{kind}")
        error.found = found or {}
        raise error
