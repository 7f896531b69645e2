"""Stage: `atc --mode=3`, which knows the operators in seconds, before hours are spent on compiling."""
import json
import os
import shlex
from collections import Counter

from worker.platforms.huawei import reasons
from worker.platforms.huawei.atc import command, run_atc
from worker.platforms.huawei.errors import explain, shown_type, unsupported
from worker.platforms.huawei.source import model_options

RESULT = "check_result.json"  # source: ATC user guide, "--check_report"


def run(job):
    """Writes check_result.json, as atc did. Facts: `checked` (operators by type), commands.

    Raises:
        StageError: `unsupported_operator` with all their names; what `errors.explain` tells.
    """
    options = {"mode": 3, **model_options(job), "soc_version": job["parameters"]["soc_version"],
               "check_report": RESULT, "log": job["parameters"]["log"]}
    finished = run_atc(options, job["threads"], "checking the operators")
    checked, failed = _read(RESULT)
    if failed:
        raise unsupported(failed, finished.output)
    if not finished.succeeded:
        raise explain(finished, job)
    if checked is None:
        raise reasons.NO_CHECK_RESULT(file=RESULT)
    os.rename(RESULT, os.path.join(job["output_dir"], RESULT))
    return {"checked": checked, "commands": [" ".join(map(shlex.quote, command(options)))]}


def _read(path):
    """`({operator type: count}, [type that failed])`; `(None, [])` where there is no result.

    Source: GE, parser/common/pre_checker: {"result", "op": [{"name", "type", "result", "cause": [{"code",
    "message"}]}]}.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            operators = json.load(file).get("op") or []
        types = Counter(shown_type(entry["type"]) for entry in operators)
        failed = {shown_type(entry["type"]) for entry in operators if entry["result"] != "success"}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None, []
    return dict(sorted(types.items())), sorted(failed)
