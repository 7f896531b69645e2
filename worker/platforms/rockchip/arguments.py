"""The task's parameters as the arguments of rknn-toolkit2's calls."""
from worker.platforms.rockchip import reasons
from worker.stages import preprocess

_DTYPES = {"int8": "w8a8", "int16": "w16a16i_dfp"}
_AS_THEY_ARE = ("float_dtype", "optimization_level", "model_pruning", "compress_weight", "remove_weight",
                "remove_reshape", "single_core_mode", "sparse_infer", "enable_flash_attention", "mini_rknn",
                "memory_plan_strategy", "compute_order")
_WHERE_GIVEN = ("op_target", "custom_string", "disable_rules")
_HYBRID = ("auto_hybrid_cos_thresh", "auto_hybrid_euc_thresh")
# What `build` takes as a model's input; it crashes on int8 and uint8, and refuses the other integers.
INPUT_DTYPES = ("float", "float16", "double", "int32", "int64", "bool")


def is_quantized(parameters):
    return parameters["precision"] in _DTYPES


def config_arguments(parameters, inputs):
    """The arguments of `config`; `inputs` are the model's `{name, dtype, shape}`.

    Raises:
        StageError: `preprocessing_mismatch`.
    """
    arguments = {"target_platform": parameters["chip"]}
    arguments.update((name, parameters[name]) for name in _AS_THEY_ARE)
    arguments.update((name, parameters[name]) for name in _WHERE_GIVEN if parameters[name])
    if is_quantized(parameters):
        arguments.update(quantized_dtype=parameters["quantized_dtype"] or _DTYPES[parameters["precision"]],
                         quantized_algorithm=parameters["quantized_algorithm"],
                         quantized_method=parameters["quantized_method"])
        if parameters["auto_hybrid"]:
            arguments.update((name, parameters[name]) for name in _HYBRID)
    baked = [_constants(parameters, entry) for entry in inputs]
    if any(baked):
        arguments["mean_values"] = [found and found[0] for found in baked]
        arguments["std_values"] = [found and found[1] for found in baked]
    return arguments


def check_inputs(inputs):
    """Refuse what the toolkit would crash on.

    Raises:
        StageError: `unsupported_type`.
    """
    wrong = [f"{entry['name']} ({entry['dtype']})" for entry in inputs if entry["dtype"] not in INPUT_DTYPES]
    if wrong:
        raise reasons.TYPES_NOT_TAKEN(inputs=", ".join(wrong))
    single = [entry["name"] for entry in inputs if not entry["shape"]]  # IndexError in `build`
    if single:
        raise reasons.NO_DIMENSIONS(names=", ".join(single))


def _constants(parameters, entry):
    found = preprocess.constants(parameters, entry)
    if found is not None and preprocess.channel_axis(entry["shape"]) != 1:
        raise reasons.CHANNELS_LAST(name=entry["name"], shape=entry["shape"])
    return found
