"""Stage: the `.om`, by `atc --mode=0`."""
import glob
import os
import shlex
import struct

from worker.platforms.huawei import reasons
from worker.platforms.huawei.atc import command, run_atc
from worker.platforms.huawei.errors import explain, read_warnings
from worker.platforms.huawei.source import file_options, input_dims, model_options

OM = "model.om"
# Source: GE, framework/common/types.h, ModelFileHeader: 256 bytes; magic, its size, version, a checksum of 64 bytes,
# the length of what follows (0 above 4 GiB).
_MAGIC = b"IMOD"
_HEADER_BYTES = 256
_LENGTH_AT = 76
_DTYPES = {"FP32": "float", "FP16": "float16", "DOUBLE": "double"}


def run(job):
    """Writes model.om. Facts: files, precision (the mode), inputs and outputs, warnings, commands.

    An open dimension of an input is null; the outputs' shapes are those of the shapes that optimize chose.

    Raises:
        StageError: `compile_failed`, `unsupported_operator`, what `source` and `errors.explain` tell.
    """
    parameters = job["parameters"]
    extra = dict(parameters["extra_params"])
    for said_otherwise in ("input_format", "input_shape_range"):
        extra.pop(said_otherwise, None)
    options = {"mode": 0, **model_options(job), "output": "model", "soc_version": parameters["soc_version"],
               "precision_mode": parameters["precision_mode"], **file_options(job), **dict(sorted(extra.items())),
               "log": parameters["log"]}
    finished = run_atc(options, job["threads"], "compiling operators", 2, 98)
    if not finished.succeeded:
        raise explain(finished, job)
    os.rename(_find(), os.path.join(job["output_dir"], OM))
    return {"precision": parameters["precision_mode"] or extra["precision_mode_v2"],
            "inputs": _inputs(job), "outputs": _outputs(job), "warnings": read_warnings(finished.output),
            "commands": [" ".join(map(shlex.quote, command(options)))]}


def _find():
    """The artefact. With open dimensions atc adds the system's name to its own (model_linux_x86_64.om)."""
    found = glob.glob("model*.om")
    if len(found) != 1:
        raise reasons.SEVERAL_OM(names=", ".join(sorted(found))) if found else reasons.NO_OM()
    size = os.path.getsize(found[0])
    with open(found[0], "rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise reasons.NO_OFFLINE_MODEL(start=header[:4], size=size)
    length = struct.unpack_from("<I", header, _LENGTH_AT)[0]
    if size < length + _HEADER_BYTES:
        raise reasons.OM_CUT(size=size, wanted=length + _HEADER_BYTES)
    return found[0]


def _inputs(job):
    dims = input_dims(job)
    return [dict(entry, shape=[int(dim) if dim.isdigit() else None for dim in dims[entry["name"]]])
            for entry in job["inputs"]["optimize"]["facts"]["inputs"]]


def _outputs(job):
    """Empty where the client chose the output nodes: atc alone knows their shapes."""
    extra = job["parameters"]["extra_params"]
    if "out_nodes" in extra:
        return []
    dtype = extra.get("output_type")
    return [dict(entry, dtype=_DTYPES.get(dtype, dtype.lower()) if dtype else entry["dtype"])
            for entry in job["inputs"]["optimize"]["facts"]["outputs"]]
