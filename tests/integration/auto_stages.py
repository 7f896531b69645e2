"""Toy stages of a target with candidates. `outcomes` says what a method's stage does: the code that it fails with, or
`unrunnable` for a verify that cannot compare."""
from shared.rules.bilingual import Bilingual
from tests.integration.toy_stages import count, wait_at_gate, write_artefact
from worker import stage_api


def _told(job, stage):
    method = job["parameters"]["method"]
    name = f"{stage}-{method}"
    count(job, name)
    wait_at_gate(job, name)
    return (job["parameters"]["outcomes"] or {}).get(name)


def _refuse(code, method, found=None):
    error = stage_api.StageError(code, Bilingual(f"{method} 不行", f"{method} does not do"),
                                 Bilingual(f"不用 {method}", f"not {method}"))
    error.found = found or {}
    raise error


def compile_as_told(job):
    code = _told(job, "compile")
    if code:
        _refuse(code, job["parameters"]["method"])
    write_artefact(job)
    return {"precision": job["parameters"]["precision"]}


def verify_as_told(job):
    code, accepted = _told(job, "verify"), job["parameters"]["accept_accuracy"]
    if code == "unrunnable":
        return {"skipped": True, "reason": "nothing runs it", "reason_zh": "无法运行"}
    facts = {"skipped": False, "min_cosine": 0.9, "passed": not code, "accepted": bool(code) and accepted, "samples": 1,
             "outputs": [{"name": "y", "cosine": 0.5 if code else 0.99, "worst_sample_cosine": 0.5,
                          "max_abs_error": 1.0, "max_rel_error": 1.0}]}
    if code and not accepted:
        _refuse(code, job["parameters"]["method"], facts)
    return facts
