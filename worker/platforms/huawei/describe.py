"""Stage: the description that `atc --mode=6` reads out of the `.om`: a proof that it can be read, and its needs."""
import os
import re

from worker.platforms.huawei import reasons
from worker.platforms.huawei.atc import command, run_atc
from worker.platforms.huawei.compile import OM
from worker.platforms.huawei.errors import explain

# Source: ATC user guide, "--display_model_info": "resource info: memory_size[24123392 B], weight_size[…], …".
_LINE = re.compile(r"^(system|resource|om)\s+info:(.*)$", re.MULTILINE)
_ENTRY = re.compile(r"(\w+)\[([^\]]*)\]")
_NOT_VERIFIED = ("not compared with ONNX Runtime: CANN has no simulator for .om; run it on the chip before you rely on "
                 "its accuracy")


def run(job):
    """Facts: `memory` ({what: bytes}), `details` (versions, streams, events), warnings, commands. Writes nothing.

    Raises:
        StageError: `compile_failed` (atc cannot read the artefact), `toolchain_broken`.
    """
    if not os.path.lexists(OM):
        os.symlink(os.path.join(os.path.abspath(job["inputs"]["compile"]["dir"]), OM), OM)
    options = {"mode": 6, "om": OM}
    finished = run_atc(options, job["threads"], "reading the .om")
    if not finished.succeeded:
        error = explain(finished, job)
        if error.code == "toolchain_broken":
            raise error
        raise reasons.CANNOT_READ_OM(said=error.text, vendor_code=error.vendor_code)
    told = {name: value for _, line in _LINE.findall(finished.output) for name, value in _ENTRY.findall(line)}
    memory = {name: int(value[:-2]) for name, value in told.items() if re.fullmatch(r"\d+ B", value)}
    if not memory:
        raise reasons.NOT_DESCRIBED()
    warnings = [_NOT_VERIFIED]
    wanted = job["parameters"]["soc_version"]
    if told.get("soc_version", wanted) != wanted:
        warnings.append("the .om says that it is for {}; {} was asked for".format(told["soc_version"], wanted))
    return {"memory": memory, "details": {name: value for name, value in told.items() if name not in memory},
            "warnings": warnings, "commands": [" ".join(command(options))]}
