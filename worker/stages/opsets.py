"""A model of a newer opset in an older one, for tools that read no newer.

Two ways: onnx's version converter, which has no adapter for some operators; and the model as it is under the older
number, for most operators' newer versions only take more types. Whoever takes one of them compares its answers.
"""
from shared.rules.bilingual import without_addresses
from worker.stage_api import is_out_of_memory, log
from worker.stages.control_flow import simplified
from worker.stages.onnx_model import walk_nodes

_STANDARD = ("", "ai.onnx")
_GRID_SAMPLE, _OLDER_MODES = 20, {b"linear": b"bilinear", b"cubic": b"bicubic"}


class NoWayDown(Exception):
    """The older opset cannot express the model."""


def opset_of(model):
    """The version of the standard operators."""
    return next((entry.version for entry in model.opset_import if entry.domain in _STANDARD), 1)


def lowered(model, newest, source, threads):
    """The model in the opset `newest`, by each way in turn that ONNX's rules allow. External data is in `source`.

    Raises:
        NoWayDown: no way.
    """
    import onnx

    found, problem = False, None
    for way in (_convert, _relabel):
        try:
            candidate = way(_spell_out(model, newest, source, threads), newest)
            _rename_modes(model, candidate)
            onnx.checker.check_model(_with_output_shapes(candidate))
        except Exception as error:  # C++ exceptions without a common base
            if is_out_of_memory(error):
                raise MemoryError(str(error)[:600]) from error
            said = without_addresses(str(error).partition("failed: ")[2] or str(error)).strip().splitlines()[0]
            log(f"not in opset {newest} by {way.__name__[1:]}: {said}")
            problem = problem or said
            continue
        found = True
        yield candidate
    if not found:
        raise NoWayDown(problem)


def _convert(model, newest):
    from onnx import version_converter

    return version_converter.convert_version(model, newest)


def _relabel(model, newest):
    for entry in model.opset_import:
        if entry.domain in _STANDARD:
            entry.version = newest
    return model


def _rename_modes(model, candidate):
    """The older words for how GridSample interpolates, which onnx's converter leaves as they are."""
    if not opset_of(candidate) < _GRID_SAMPLE <= opset_of(model):
        return
    for node in walk_nodes(candidate):
        if node.op_type == "GridSample" and node.domain in _STANDARD:
            for attribute in node.attribute:
                if attribute.name == "mode":
                    attribute.s = _OLDER_MODES.get(attribute.s, attribute.s)


def _spell_out(model, newest, source, threads):
    """A copy in which an operator that the older opset does not have is spelled out in others, as ONNX defines it; what
    is constant of that is computed."""
    import onnx
    from onnx import inliner

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    newer = {(node.domain, node.op_type) for node in walk_nodes(model)
             if node.domain in _STANDARD and _is_newer(onnx.defs.get_schema(node.op_type, opset_of(model)), newest)}
    if not newer:
        return copy
    log(f"spelled out in other operators: {sorted(name for _, name in newer)}")
    copy = inliner.inline_selected_functions(_with_types(copy), sorted(newer), inline_schema_functions=True)
    copy = simplified(copy, source, threads) or copy
    used = {node.domain for node in walk_nodes(copy)} | {""}
    kept = [entry for entry in copy.opset_import if entry.domain in used]  # ONNX Runtime lists all that it knows
    del copy.opset_import[:]
    copy.opset_import.extend(kept)
    return copy


def _is_newer(schema, newest):
    """Whether ONNX spells the operator out in others, and the older opset has it not, or as a deprecated one."""
    import onnx

    if schema.since_version <= newest or not (schema.has_function or schema.has_context_dependent_function):
        return False
    return not onnx.defs.has(schema.name, newest, schema.domain) or onnx.defs.get_schema(
        schema.name, newest, schema.domain).deprecated


def _with_types(model):
    """The model with the type of each value, constants among them: the inliner looks them up."""
    import onnx

    typed = onnx.shape_inference.infer_shapes(model)
    for tensor in typed.graph.initializer:
        typed.graph.value_info.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return typed


def _with_output_shapes(model):
    """For the checker, which wants a shape for each output, be it open; external data is not looked for."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.initializer[:]
    for tensor in model.graph.initializer:
        copy.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for value in copy.graph.output:
        if not value.type.tensor_type.elem_type:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        value.type.tensor_type.shape.SetInParent()
    return copy
