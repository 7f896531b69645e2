"""The preprocessing that is baked in before the model's image inputs, and the form of raw values that follows.

Steps are those of OpenVINO's PrePostProcessor (OpenVINO documentation, "Preprocessing API - details").
"""
from worker.platforms.intel import reasons
from worker.platforms.intel.convert import MODEL, OPENVINO
from worker.stages import preprocess
from worker.stages.calls import Name

_CHANNELS = (1, 3, 4)
_FLOATS = ("float", "float16", "double")
_LAYOUTS = {1: "NCHW", 3: "NHWC"}  # by where the channels are
_PROCESSOR = Name("processor")


class Steps:
    """For one input: `own` is the model's layout, `layout` the artefact's; `mean` and `std` lists or None."""

    def __init__(self, parameters, entry):
        axis = preprocess.channel_axis(entry["shape"])
        self.name = entry["name"]
        self.is_image = axis is not None and entry["shape"][axis] in _CHANNELS
        self.own = _LAYOUTS.get(axis)
        wanted = parameters["layout"]
        self.layout = wanted.upper() if wanted and self.is_image else self.own
        self.reverse = parameters["reverse_channels"] and self.is_image and entry["shape"][axis] == 3
        self.as_bytes = parameters["input_type"] == "u8" and self.is_image and entry["dtype"] in _FLOATS
        self.dtype = entry["dtype"]
        self.mean, self.std = preprocess.constants(parameters, entry) or (None, None)

    def change_anything(self):
        return self.layout != self.own or self.reverse or self.as_bytes or self.mean is not None

    def adapt(self, array):
        """Raw values in the model's layout and order as the artefact takes them."""
        if self.reverse:
            array = array[:, ::-1] if self.own == "NCHW" else array[..., ::-1]
        if self.layout != self.own:
            array = array.transpose((0, 2, 3, 1) if self.own == "NCHW" else (0, 3, 1, 2))
        return array


def read_steps(parameters, inputs):
    """The `Steps` of each of the model's `inputs` ({name, dtype, shape}).

    Raises:
        StageError: `preprocessing_mismatch`: there is no input that something asked for could be done to.
    """
    preprocess.check(parameters, inputs)
    found = [Steps(parameters, entry) for entry in inputs]
    for name, kind, done in (("layout", reasons.IMAGES, lambda steps: steps.is_image),
                             ("reverse_channels", reasons.COLOUR_IMAGES, lambda steps: steps.reverse),
                             ("input_type", reasons.FLOAT_IMAGES, lambda steps: steps.as_bytes)):
        if parameters[name] and not any(map(done, found)):
            shapes = ", ".join(f"{entry['name']} {entry['dtype']} {entry['shape']}" for entry in inputs)
            raise reasons.NO_SUCH_INPUT(parameter=name, kind=kind, inputs=shapes)
    return found


def bake(script, steps):
    """Let `model` be the script's model with the steps before its inputs; without any step it stays as it is."""
    todo = [entry for entry in steps if entry.change_anything()]
    if not todo:
        return
    script.let("processor", OPENVINO.preprocess.PrePostProcessor(MODEL))
    for entry in todo:
        for call in _calls(entry):
            script.do(call)
    script.let("model", _PROCESSOR.build())


def _calls(entry):
    """The calls for one input, in order; `build` adds what is missing to the model's own type and layout."""
    info = _PROCESSOR.input(entry.name)
    yield info.tensor().set_layout(OPENVINO.Layout(entry.layout))
    yield info.model().set_layout(OPENVINO.Layout(entry.own))
    if entry.as_bytes:
        yield info.tensor().set_element_type(OPENVINO.Type.u8)
    if entry.as_bytes or (entry.mean is not None and entry.dtype != "float"):
        yield info.preprocess().convert_element_type(OPENVINO.Type.f32)
    if entry.reverse:
        yield info.preprocess().reverse_channels()
    if entry.mean is not None:
        yield info.preprocess().mean([float(value) for value in entry.mean])
        yield info.preprocess().scale([float(value) for value in entry.std])
