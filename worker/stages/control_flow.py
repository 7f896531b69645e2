"""If and Loop whose conditions are constant, written out: the branch that is taken, the loop as often as it runs.

Compilers for NPUs have no control flow. ONNX Runtime writes out an If too, but gives up a model in which branches lie
inside of branches (1.27 to 1.32: "is not If node's input or previous node output"), and it leaves loops as they are.
"""
import os
import tempfile

from worker.stage_api import is_out_of_memory, log
from worker.stages.graph_edits import copies, prune, reads
from worker.stages.written_out import write_out

_CONTROL_FLOW = ("If", "Loop", "Scan")


def fold_control_flow(model, source, threads):
    """Write out what is constant in the main graph; how many operators of control flow are gone.

    `source` is the folder of external data.
    """
    folded = 0
    while found := _fold_once(model, source, threads):
        folded += found
    return folded


def _fold_once(model, source, threads):
    nodes = {index: node for index, node in enumerate(model.graph.node)
             if node.op_type in ("If", "Loop") and node.domain in ("", "ai.onnx")}
    if not nodes:
        return 0
    values = _constants(model, {name for node in nodes.values()
                                for name in node.input[:2 if node.op_type == "Loop" else 1] if name}, source, threads)
    taken = {name for node in model.graph.node for name in (*reads(node), *node.output, node.name)}
    taken |= {tensor.name for tensor in model.graph.initializer} | {value.name for value in model.graph.input}
    folded, kept = 0, []
    for index, node in enumerate(model.graph.node):
        written = write_out(node, values, taken, model.graph.initializer) if index in nodes else None
        kept += [node] if written is None else written
        folded += written is not None
    if folded:
        fresh = copies(kept)
        del model.graph.node[:]
        model.graph.node.extend(fresh)
        prune(model)
    return folded


def _constants(model, wanted, source, threads):
    """`{name: value}` of those of the wanted values that ONNX Runtime finds to be constant.

    What follows on control flow waits until that is written out.
    """
    import onnx

    makers = {name: node for node in model.graph.node for name in node.output}
    part = onnx.ModelProto()
    part.CopyFrom(model)
    ends = {}
    for name in sorted(wanted):
        if not _follows_control_flow(name, makers):
            ends[name + "/as constant"] = name
            # ONNX Runtime leaves what is an output itself
            part.graph.node.append(onnx.helper.make_node("Identity", [name], [name + "/as constant"]))
    del part.graph.output[:]
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ends)
    prune(part)
    found = simplified(part, source, threads) if ends else None
    if found is None:
        return {}
    tensors = {tensor.name: tensor for tensor in found.graph.initializer}
    values = {}
    for node in found.graph.node:
        for output in node.output:
            if output in ends and node.op_type == "Identity" and node.input[0] in tensors:
                values[ends[output]] = onnx.numpy_helper.to_array(tensors[node.input[0]]).reshape(-1)[0].item()
    values.update({ends[name]: onnx.numpy_helper.to_array(tensor).reshape(-1)[0].item()
                   for name, tensor in tensors.items() if name in ends})
    return values


def _follows_control_flow(name, makers):
    pending, seen = [name], set()
    while pending:
        node = makers.get(pending.pop())
        if node is None or id(node) in seen:
            continue
        if node.op_type in _CONTROL_FLOW:
            return True
        seen.add(id(node))
        pending += node.input
    return False


def simplified(model, source, threads):
    """The model after ONNX Runtime's portable passes; None where it cannot load it."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", source)
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = os.path.join(folder, "part.onnx")
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no base class
            if is_out_of_memory(error):
                raise MemoryError(str(error)[:600]) from error
            log(f"ONNX Runtime does not take a part of the model: {str(error)[:300]}")
            return None
        return onnx.load(options.optimized_model_filepath, load_external_data=False)
