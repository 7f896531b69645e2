"""What is baked in before the model's image inputs, and how raw values look to the artefact then.

Steps are those of OpenVINO's PrePostProcessor (OpenVINO documentation, "Preprocessing API - details").
"""
from worker.platforms.intel import reasons
from worker.stages import preprocess

_CHANNELS = (1, 3, 4)
_FLOATS = ("float", "float16", "double")
_TYPED = ("convert_element_type",)
_LAYOUTS = {1: "NCHW", 3: "NHWC"}  # by where the channels are


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


def bake(model, steps):
    """`(model, commands)` with the steps before the model's inputs; the commands say the same in Python."""
    from worker.platforms.intel.toolkit import ov

    todo = [entry for entry in steps if entry.change_anything()]
    if not todo:
        return model, []
    processor = ov.preprocess.PrePostProcessor(model)
    commands = ["processor = openvino.preprocess.PrePostProcessor(model)"]
    for entry in todo:
        info = processor.input(entry.name)
        said = f"processor.input({entry.name!r})"
        info.tensor().set_layout(ov.Layout(entry.layout))
        info.model().set_layout(ov.Layout(entry.own))
        commands += [f"{said}.tensor().set_layout(openvino.Layout({entry.layout!r}))",
                     f"{said}.model().set_layout(openvino.Layout({entry.own!r}))"]
        if entry.as_bytes:
            info.tensor().set_element_type(ov.Type.u8)
            commands.append(f"{said}.tensor().set_element_type(openvino.Type.u8)")
        for method, value in _calls(entry):
            getattr(info.preprocess(), method)(*() if value is None else (value,))
            text = "" if value is None else f"openvino.Type.{value.get_type_name()}" if method in _TYPED else value
            commands.append(f"{said}.preprocess().{method}({text})")
    return processor.build(), [*commands, "model = processor.build()"]


def _calls(entry):
    """`(method, argument)` in order; `build` adds what is missing to the model's own type and layout."""
    from worker.platforms.intel.toolkit import ov

    if entry.as_bytes or (entry.mean is not None and entry.dtype != "float"):
        yield "convert_element_type", ov.Type.f32
    if entry.reverse:
        yield "reverse_channels", None
    if entry.mean is not None:
        yield "mean", [float(value) for value in entry.mean]
        yield "scale", [float(value) for value in entry.std]
