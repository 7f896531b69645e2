"""Which files beside a model hold its weights, and whether each name stays inside the model's folder.

`run` is the part of fetch that parses, so it runs in the onnx environment and in a limited child.
"""
import os

from shared.rules import models as rules
from worker.stages import onnx_model


def run(job):
    """`{"locations": […]}`: relative paths, `/` between parts, sorted, each once. Reads `inputs["model"]` only."""
    folder = job["inputs"]["model"]["dir"]
    model = onnx_model.read_model(os.path.join(folder, rules.MODEL))
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
    if len(names) > rules.MAX_EXTERNAL_FILES:
        raise rules.too_many_files(len(names))
    return sorted({rules.check_location(name) for name in names})


def check_inside(folder, location):
    """Refuse a location that is a link, or lies behind one, below `folder`; a missing file is no error here.

    Raises:
        StageError: `external_data_outside`.
    """
    path = folder
    for part in location.split("/"):
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise rules.behind_a_link(location)
