"""The inputs of atc: the model, its input shapes, the files of its options, all under names relative to the stage."""
import os

from shared.rules.models import MODEL
from worker.platforms.huawei import reasons
from worker.stages.asked import model_folder

# Which axes of an input each option fills. Source: ATC user guide, the sections of these options.
_GEARS = {"dynamic_batch_size": (0,), "dynamic_image_size": (2, 3), "dynamic_dims": tuple(range(16))}
# These name nodes of the model as it was sent; the simplified one has others.
_NAMING_OPTIONS = ("out_nodes",)
_NAMING_FILES = ("keep_dtype", "op_precision_mode")
_SUFFIXES = {"op_precision_mode": ".ini", "modify_mixlist": ".json"}


def model_options(job):
    """The options that say which model with which shapes: framework, model, input_format and input_shape.

    Raises:
        StageError: see `input_dims`.
    """
    extra = job["parameters"]["extra_params"]
    folder, path = ("fetch", model_folder(job)) if _needs_original(job) else (
        "optimize", job["inputs"]["optimize"]["dir"])
    _link(path, folder)
    shapes = [f"{name}:{','.join(dims)}" for name, dims in input_dims(job).items()]
    return {"framework": 5, "model": f"{folder}/{MODEL}",
            "input_format": extra.get("input_format") or ("ND" if "dynamic_dims" in extra else None),
            "input_shape": ";".join(shapes)}


def input_dims(job):
    """`{input: [dimension]}` as --input_shape has them: numbers, -1 for what gears fill, or a range (1~8).

    Raises:
        StageError: `input_shape_mismatch`, the gears or ranges do not fit the model.
    """
    inputs = {entry["name"]: [str(dim) for dim in entry["shape"]]
              for entry in job["inputs"]["optimize"]["facts"]["inputs"]}
    extra = job["parameters"]["extra_params"]
    for option in _GEARS:
        if option in extra:
            for name, axis in _open_axes(job, option):
                inputs[name][axis] = "-1"
    for part in filter(None, extra.get("input_shape_range", "").split(";")):
        name, _, text = part.rpartition(":")
        dims = text.strip("[]").split(",")
        if len(dims) != len(inputs.get(name, ())):
            has = ", ".join(f"{known}:{','.join(shape)}" for known, shape in inputs.items())
            raise reasons.RANGE_DOES_NOT_FIT(part=part, inputs=has)
        inputs[name] = dims
    return inputs


def file_options(job):
    """`{option: file}` of the options that name a file; the files are linked under names that atc takes.

    Raises:
        StageError: `option_invalid`.
    """
    entry = job["inputs"]["files"]
    options = {}
    for option, names in sorted(entry["facts"].items()):
        if len(names) != 1:
            raise reasons.NOT_ONE_FILE(option=option, count=len(names))
        path = os.path.join(entry["dir"], option, names[0])
        if option == "compression_optimize_conf":
            _refuse_calibration(path)
        os.makedirs("files", exist_ok=True)
        options[option] = "files/" + option + _SUFFIXES.get(option, ".cfg")
        _link(path, options[option])
    return options


def _open_axes(job, option):
    """`[(input, axis)]` that the gears fill, in the model's order: what the model itself leaves open there."""
    text = job["parameters"]["extra_params"][option]
    found = []
    sent = {entry["name"]: entry["shape"] for entry in job["inputs"]["inspect"]["facts"]["inputs"]}
    for entry in job["inputs"]["optimize"]["facts"]["inputs"]:
        # An input inside, where the model is cut, is as wide as the shapes asked for make it.
        declared = sent.get(entry["name"], entry["shape"])
        declared = [None] * len(entry["shape"]) if declared is None else declared
        found += [(entry["name"], axis) for axis, dim in enumerate(declared)
                  if not isinstance(dim, int) and axis in _GEARS[option]]
    if not found:
        raise reasons.NOTHING_TO_FILL(option=option)
    gear = len(text.split(";")[0].split(","))
    if option == "dynamic_dims" and gear != len(found):
        places = ", ".join(f"{name}[{axis}]" for name, axis in found)
        raise reasons.OTHER_GEARS(count=gear, open=len(found), places=places)
    return found


def _needs_original(job):
    extra = job["parameters"]["extra_params"]
    return (any(name in extra for name in (*_GEARS, "input_shape_range", *_NAMING_OPTIONS))
            or any(name in job["inputs"]["files"]["facts"] for name in _NAMING_FILES))


def _refuse_calibration(path):
    """Source: ATC user guide, "--compression_optimize_conf": it runs the model on a device."""
    with open(path, encoding="utf-8", errors="replace") as file:
        if "calibration" in file.read():
            raise reasons.CALIBRATES()


def _link(path, name):
    if not os.path.lexists(name):
        os.symlink(os.path.abspath(path), name)
