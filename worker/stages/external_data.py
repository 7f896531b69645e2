"""Which files beside a model hold its weights, and whether each name stays inside the model's folder.

`run` is the part of fetch that parses, so it runs in the onnx environment and in a limited child. The two checks of
names need the standard library only: fetch uses them too.
"""
import os
import posixpath

from worker.stage_api import StageError
from worker.stages import onnx_limits, onnx_model

# ONNX Runtime takes the location "*/_ORT_MEM_ADDR_/*" for an address in its own memory.
_FORBIDDEN = "\\*\0"


def run(job):
    """`{"locations": […]}`: relative paths, `/` between parts, sorted, each once. Reads `inputs["model"]` only."""
    folder = job["inputs"]["model"]["dir"]
    model = onnx_model.read_model(os.path.join(folder, onnx_model.MODEL))
    locations = find_locations(model)
    for location in locations:
        check_inside(folder, location)
    return {"locations": locations}


def find_locations(model):
    """The external files that the model names, normalised and sorted.

    Raises:
        StageError: `external_data_outside` for a name that leads or may lead out of the folder; `model_too_complex`.
    """
    names = {onnx_model.external_entries(tensor).get("location", "")
             for _, tensor in onnx_model.walk_tensors(model) if onnx_model.is_external(tensor)}
    if len(names) > onnx_limits.MAX_EXTERNAL_FILES:
        raise StageError("model_too_complex", f"the model names {len(names)} external data files; "
                                              f"at most {onnx_limits.MAX_EXTERNAL_FILES} are fetched",
                         "save the weights in one file: onnx.save(…, all_tensors_to_one_file=True)")
    return sorted({check_location(name) for name in names})


def check_location(location):
    """The location in its normal form.

    Raises:
        StageError: `external_data_outside`: empty, absolute, with `..`, a drive or one of `_FORBIDDEN`, or the model.
    """
    normal = posixpath.normpath(location) if location else ""
    if (not location or len(location) > 1024 or location.startswith("/") or ".." in location.split("/")
            or location[1:2] == ":" or any(char in location for char in _FORBIDDEN)
            or normal in (".", onnx_model.MODEL)):
        raise _outside(location, "is not a plain path below the model's folder")
    return normal


def check_inside(folder, location):
    """Refuse a location that is a link, or lies behind one, below `folder`; a missing file is no error here.

    Raises:
        StageError: `external_data_outside`.
    """
    path = folder
    for part in location.split("/"):
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise _outside(location, "is or lies behind a link")


def _outside(location, why):
    return StageError("external_data_outside", f"the external data file {location[:200]!r} {why}",
                      "save the model again so that its data lies beside it: "
                      "onnx.save(model, path, save_as_external_data=True, location=\"weights.bin\")")
