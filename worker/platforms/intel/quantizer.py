"""The task's `quantization` as a call of NNCF 3.4's quantizer."""
from worker.platforms.intel.convert import MODEL
from worker.stages.calls import Name

_NNCF = Name("nncf")
_WITHOUT_BIAS = "/WithoutBiases"


def quantizer_call(options):
    """The call; it reads `model`, `dataset`, and with accuracy control `reference` (a dataset) and `least_cosine`."""
    arguments = {"target_device": _NNCF.TargetDevice.NPU, "subset_size": options["subset_size"],
                 "preset": _NNCF.QuantizationPreset(options["preset"]),
                 "fast_bias_correction": options["fast_bias_correction"]}
    if options["model_type"]:
        arguments["model_type"] = _NNCF.ModelType(options["model_type"])
    if options["ignored_scope"]:
        scope = {name: values for name, values in options["ignored_scope"].items() if values}
        arguments["ignored_scope"] = _NNCF.IgnoredScope(**scope)
    advanced = _NNCF.AdvancedQuantizationParameters(**_advanced(options))
    control = options["accuracy_control"]
    if control is None:
        return _NNCF.quantize(MODEL, Name("dataset"), advanced_parameters=advanced, **arguments)
    # Several workers rank with a compiled model each: more memory, and no faster on the threads of one stage.
    restorer = {"num_ranking_workers": 1}
    if control["max_num_iterations"] is not None:
        restorer["max_num_iterations"] = control["max_num_iterations"]
    return _NNCF.quantize_with_accuracy_control(
        MODEL, Name("dataset"), Name("reference"), Name("least_cosine"), max_drop=control["max_drop"], **arguments,
        advanced_quantization_parameters=advanced,
        advanced_accuracy_restorer_parameters=_NNCF.AdvancedAccuracyRestorerParameters(**restorer))


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
    ranges = _NNCF.quantization.range_estimator.RangeEstimatorParametersSet
    found = {"activations_range_estimator_params": getattr(ranges, options["activations_range_estimator"].upper())}
    if options["overflow_fix"]:
        found["overflow_fix"] = _NNCF.OverflowFix(options["overflow_fix"])
    if options["smooth_quant_alpha"] is not None:
        found["smooth_quant_alphas"] = _NNCF.AdvancedSmoothQuantParameters(matmul=options["smooth_quant_alpha"])
    return found
