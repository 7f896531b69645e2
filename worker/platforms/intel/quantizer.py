"""The task's `quantization` as a call of NNCF 3.4's quantiser."""
from worker.platforms.intel.calls import Call, Name

_WITHOUT_BIAS = "/WithoutBiases"
_RANGES = "nncf.quantization.range_estimator.RangeEstimatorParametersSet."


def quantizer_call(options):
    """The call; it reads `model`, `dataset`, and with accuracy control `reference` (a dataset) and `least_cosine`."""
    arguments = {"target_device": Name("nncf.TargetDevice.NPU"), "subset_size": options["subset_size"],
                 "preset": Call("nncf.QuantizationPreset", options["preset"]),
                 "fast_bias_correction": options["fast_bias_correction"]}
    if options["model_type"]:
        arguments["model_type"] = Call("nncf.ModelType", options["model_type"])
    if options["ignored_scope"]:
        scope = {name: values for name, values in options["ignored_scope"].items() if values}
        arguments["ignored_scope"] = Call("nncf.IgnoredScope", **scope)
    advanced = Call("nncf.AdvancedQuantizationParameters", **_advanced(options))
    control = options["accuracy_control"]
    if control is None:
        return Call("nncf.quantize", Name("model"), Name("dataset"), advanced_parameters=advanced, **arguments)
    # Several workers rank with a compiled model each: more memory, and no faster on the threads of one stage.
    restorer = {"num_ranking_workers": 1}
    if control["max_num_iterations"] is not None:
        restorer["max_num_iterations"] = control["max_num_iterations"]
    return Call("nncf.quantize_with_accuracy_control", Name("model"), Name("dataset"), Name("reference"),
                Name("least_cosine"), max_drop=control["max_drop"], **arguments,
                advanced_quantization_parameters=advanced,
                advanced_accuracy_restorer_parameters=Call("nncf.AdvancedAccuracyRestorerParameters", **restorer))


def with_biases(options, operators):
    """The options, in which a name in `ignored_scope` means what it says.

    OpenVINO gives a convolution's name to the addition of its bias, and another to the convolution itself; ignoring the
    addition alone would change nothing. `operators` are the names of all.
    """
    scope = options["ignored_scope"]
    if not scope or not scope["names"]:
        return options
    more = [name + _WITHOUT_BIAS for name in scope["names"] if name + _WITHOUT_BIAS in operators]
    return dict(options, ignored_scope=dict(scope, names=scope["names"] + more))


def _advanced(options):
    found = {"activations_range_estimator_params": Name(_RANGES + options["activations_range_estimator"].upper())}
    if options["overflow_fix"]:
        found["overflow_fix"] = Call("nncf.OverflowFix", options["overflow_fix"])
    if options["smooth_quant_alpha"] is not None:
        found["smooth_quant_alphas"] = Call("nncf.AdvancedSmoothQuantParameters", matmul=options["smooth_quant_alpha"])
    return found
