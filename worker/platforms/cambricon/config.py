"""The BuilderConfig of a task, piece by piece: what a release refuses can then be named.

Keys and values as in MagicMind's own samples (magicmind_cloud, python_common/model_process.py and README).
"""
import os

from worker.platforms.cambricon import reasons
from worker.stages import preprocess

CROSS_COMPILER = "MODEL_CONVERT_CAMBRICON_CROSS_COMPILER"
EDGE_CHIPS = ("tp_322", "mtp_322")  # their models hold code for the host beside the MLU, which is aarch64
_MIXED = {"int8": "qint8", "int16": "qint16"}
_FORCED = {"fp32": "force_float32", "fp16": "force_float16"}
_FROM, _TO = "NCHW", "NHWC"


def precision_mode(parameters):
    """MagicMind's name of the precision."""
    precision = parameters["precision"]
    return _FORCED.get(precision) or f"{_MIXED[precision]}_mixed_{parameters['mixed_float']}"


def entries(parameters, inputs, outputs):
    """`[(the parameter that asks for it, the piece)]`. `inputs` and `outputs` are those of the static model, in order.

    Raises:
        StageError: `layout_mismatch`, `preprocessing_mismatch`, `input_shape_mismatch`, `toolchain_broken`.
    """
    chip, clusters = parameters["chip"], parameters["cluster_num"]
    pieces = [("chip", {"archs": [{chip: clusters} if clusters else chip]}),
              ("precision", {"precision_config": {"precision_mode": precision_mode(parameters)}})]
    if parameters["precision"] in _MIXED:
        pieces += [(name, {"precision_config": {name: parameters[name]}})
                   for name in ("activation_quant_algo", "weight_quant_granularity")]
    pieces += [(name, {"opt_config": {name: parameters[name]}})
               for name in ("type64to32_conversion", "conv_scale_fold")]
    pieces += _shapes(parameters["dim_range"], inputs)
    if parameters["computation_preference"] != "auto":
        pieces.append(("computation_preference", {"computation_preference": parameters["computation_preference"]}))
    normalisation = _normalisation(parameters, inputs)
    if normalisation:
        pieces.append(("mean, std", {"insert_bn_before_firstnode": normalisation}))
    for name, key, values in (("layout", "convert_input_layout", inputs),
                              ("output_layout", "convert_output_layout", outputs)):
        if parameters[name] == "nhwc":
            pieces.append((name, {key: {str(position): {"src": _FROM, "dst": _TO}
                                        for position in images(values, name)}}))
    if chip in EDGE_CHIPS:
        pieces.append(("chip", {"cross_compile_toolchain_path": _cross_compiler(chip)}))
    extra = _without_none(parameters["builder_config"] or {})
    return pieces + [(f"builder_config.{name}", {name: value}) for name, value in extra.items()]


def images(values, parameter):
    """The positions of the inputs or outputs that have the shape of an image with its channels in front.

    A layout of four axes is refused for another rank, and "converting" what is channels-last already spoils it without
    a word (python_common, README, input_layout).

    Raises:
        StageError: `layout_mismatch`: there is none.
    """
    found = [position for position, entry in enumerate(values)
             if preprocess.channel_axis(entry["shape"] or []) == 1]
    if not found:
        told = "; ".join(f"{entry['name']}: {entry['shape']}" for entry in values)
        raise reasons.NOTHING_IS_NCHW(parameter=parameter, tensors=told)
    return found


def _without_none(values):
    """What was not sent stands as None in the parameters; MagicMind is not to hear of it."""
    return {name: _without_none(value) if isinstance(value, dict) else value
            for name, value in values.items() if value is not None}


def _shapes(dim_range, inputs):
    if not dim_range:
        return [("dim_range", {"graph_shape_mutable": False})]
    by_name = {entry["name"]: (str(position), entry["shape"]) for position, entry in enumerate(inputs)}
    if "" in dim_range and len(inputs) == 1:
        dim_range = {inputs[0]["name"]: dim_range[""]}
    unknown = sorted(set(dim_range) - set(by_name))
    if unknown:
        raise reasons.UNKNOWN_IN_RANGE(unknown=", ".join(map(repr, unknown)), names=", ".join(by_name))
    ranges = {}
    for name, (position, shape) in by_name.items():
        bounds = dim_range.get(name) or {"min": shape, "max": shape}
        if len(bounds["min"]) != len(shape):
            raise reasons.OTHER_RANK(name=name, count=len(bounds["min"]), rank=len(shape))
        if not all(least <= dim <= most for least, dim, most in zip(bounds["min"], shape, bounds["max"])):
            raise reasons.OUTSIDE_OF_RANGE(name=name, shape=shape, least=bounds["min"], most=bounds["max"])
        ranges[position] = {"min": bounds["min"], "max": bounds["max"]}
    return [("dim_range", {"graph_shape_mutable": True}), ("dim_range", {"dim_range": ranges})]


def _normalisation(parameters, inputs):
    """`{position: {mean, var}}`; var is the square of std."""
    found = {str(position): preprocess.constants(parameters, entry) for position, entry in enumerate(inputs)}
    return {position: {"mean": list(values[0]), "var": [number * number for number in values[1]]}
            for position, values in found.items() if values}


def _cross_compiler(chip):
    folder = os.environ.get(CROSS_COMPILER, "")
    if not os.path.isdir(folder):
        raise reasons.NO_CROSS_COMPILER(chip=chip, setting=CROSS_COMPILER)
    return folder
