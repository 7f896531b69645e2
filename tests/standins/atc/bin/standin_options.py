"""The options that this version knows, and what it refuses, with the vendor's codes and words.

Source: GE, api/atc/main_impl.cc and the GE error codes.
"""
import os
import re

KNOWN = set(re.findall(r"\w+", """
ac_parallel_enable aicore_num allow_hf32 atomic_clean_policy buffer_optimize check_report
compress_weight_conf compression_optimize_conf core_type customize_dtypes deterministic disable_reuse_memory
dynamic_batch_size dynamic_dims dynamic_image_size enable_compress_weight enable_single_stream enable_small_channel
framework fusion_switch_file host_env_cpu host_env_os input_format input_fp16_nodes input_shape insert_op_conf
is_input_adjust_hw_layout is_output_adjust_hw_layout keep_dtype log mode model modify_mixlist om op_precision_mode
op_select_implmode optypelist_for_implmode out_nodes output output_type precision_mode precision_mode_v2
shape_generalized_build_mode soc_version sparsity status_check tiling_schedule_optimize virtual_type"""))
FILES = ("insert_op_conf", "op_precision_mode", "modify_mixlist", "keep_dtype", "fusion_switch_file",
         "compression_optimize_conf", "compress_weight_conf", "customize_dtypes")
CHIPS = ("Ascend310P1", "Ascend310P3", "Ascend310B1", "Ascend310B4", "Ascend910A", "Ascend910B", "Ascend910B3",
         "Ascend910B4")
MODES = ("force_fp16", "force_fp32", "cube_fp16in_fp32out", "allow_mix_precision", "allow_fp32_to_fp16",
         "must_keep_origin_dtype")
DYNAMIC = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims")


class Refused(Exception):
    """`E10001: …`, as printed."""


def parse(arguments):
    options = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not name.startswith("--") or not equals:
            raise Refused(f"E10054: The required parameter [{name}] for ATC is empty.")
        if name[2:] not in KNOWN:
            raise Refused(f"ERROR: unknown command line flag '{name[2:]}'")
        options[name[2:]] = value
    return options


def check_conversion(options):
    """What is looked at before the model."""
    if options.get("log", "null") not in ("debug", "info", "warning", "error", "null"):
        raise Refused(f"E10010: Value {options['log']} for parameter --log is invalid.")
    if "framework" not in options:
        raise Refused("E10007: [--framework] is required. The value must be "
                      "[0(Caffe) or 1(MindSpore) or 3(TensorFlow) or 5(Onnx)].")
    required = ["soc_version", "model"] + (["output"] if options.get("mode", "0") == "0" else [])
    for name in required:
        if not options.get(name):
            raise Refused(f"E10054: The required parameter [--{name}] for ATC is empty.")
    if options["soc_version"] not in CHIPS:
        raise _invalid("soc_version", options["soc_version"], "The soc version is not supported")
    if options.get("input_format", "NCHW") not in ("NCHW", "ND", "NCDHW"):
        raise _invalid("input_format", options["input_format"], "The value must be NCHW, ND or NCDHW in ONNX model.")
    if "precision_mode" in options and "precision_mode_v2" in options:
        raise Refused("E10056: Cannot configure both parameters [--precision_mode] and [--precision_mode_v2] "
                      "simultaneously.")
    if options.get("precision_mode", MODES[0]) not in MODES:
        raise _invalid("precision_mode", options["precision_mode"], "The value is not within the range of values")
    dynamic = [name for name in DYNAMIC if name in options]
    if len(dynamic) > 1:
        raise Refused("E10009: [--dynamic_batch_size], [--dynamic_image_size], [--input_shape_range], or "
                      "[--dynamic_dims] are mutually exclusive.")
    if "dynamic_dims" in options and "insert_op_conf" in options:
        raise _invalid("insert_op_conf", options["insert_op_conf"], "The dynamic dims function does not support AIPP.")
    open_dims = len(re.findall(r"(?<![\d~])-1", options.get("input_shape", "")))
    if dynamic and not open_dims:
        raise Refused("E10040: As the --dynamic_batch_size, --dynamic_image_size, or --dynamic_dims argument is "
                      "included, the corresponding nodes specified in --input_shape must have -1 axes.")
    for name in ("model", *FILES):
        path = options.get(name)
        if path is not None and not os.path.isfile(path):
            raise _invalid(name, path, "The file does not exist")
        if path is not None and re.search(r"[^\w./-]", path):
            raise _invalid(name, path, "The path can only contain letters, digits, underscores, hyphens and periods")


def _invalid(name, value, reason):
    return Refused(f"E10001: Value [{value}] for parameter [--{name}] is invalid. Reason: {reason}.")
