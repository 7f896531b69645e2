"""Small ONNX models for tests, good ones and one of each kind of bad; bytes unless they need files beside them."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = list[int | str | None]
OPSET = 13
IR = 8


def value(name: str, shape: Shape | None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def weights(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    generator = np.random.default_rng([seed, *shape])
    return numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32) * 0.2, name)


def constant(name: str, values: Any, dtype: Any = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def model(nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto],
          initializers: list[onnx.TensorProto] = (), *, opset: int = OPSET, ir: int = IR,
          domains: dict[str, int] | None = None) -> onnx.ModelProto:
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*item) for item in (domains or {}).items())]
    return helper.make_model(helper.make_graph(nodes, "test", inputs, outputs, list(initializers)),
                             opset_imports=imports, ir_version=ir, producer_name="tests", producer_version="1")


def convolution(shape: Shape = (1, 3, 32, 32), *, dtype: Any = np.float32) -> onnx.ModelProto:
    """Conv, BatchNormalization, Relu, pooling and a Gemm: 5 classes; the normalisation folds into the convolution."""
    onnx_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    tensors = [weights("w", 8, 3, 3, 3), weights("b", 8, seed=1), weights("scale", 8), weights("mean", 8, seed=2),
               constant("var", [1.5] * 8, np.float32), weights("fc", 8, 5, seed=3)]
    tensors = [numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name) for tensor in tensors]
    return model([helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
                  helper.make_node("BatchNormalization", ["c", "scale", "b", "mean", "var"], ["n"]),
                  helper.make_node("Relu", ["n"], ["r"]), helper.make_node("GlobalAveragePool", ["r"], ["p"]),
                  helper.make_node("Flatten", ["p"], ["f"]), helper.make_node("Gemm", ["f", "fc"], ["y"])],
                 [value("x", list(shape), onnx_type)], [value("y", [shape[0], 5], onnx_type)], tensors)


def detector(size: int = 32) -> onnx.ModelProto:
    """A detector's end: 4 coordinates in pixels (`boxes`) and 4 scores (`scores`) for each place, in one tensor."""
    places = (size // 2) ** 2
    tensors = [weights("w", 8, 3, 3, 3), weights("wb", 4, 8, 1, 1, seed=1), weights("ws", 4, 8, 1, 1, seed=2),
               constant("low", [-1.0] * 4, np.float32), constant("pixels", 640.0, np.float32),
               constant("rows", [1, 4, places])]
    tensors[2] = numpy_helper.from_array(numpy_helper.to_array(tensors[2]) * 6, "ws")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4, strides=[2, 2]),
             helper.make_node("Relu", ["c"], ["r"]), helper.make_node("Conv", ["r", "wb"], ["cb"]),
             helper.make_node("Conv", ["r", "ws", "low"], ["cs"]), helper.make_node("Sigmoid", ["cb"], ["b"]),
             helper.make_node("Mul", ["b", "pixels"], ["p"]), helper.make_node("Reshape", ["p", "rows"], ["boxes"]),
             helper.make_node("Reshape", ["cs", "rows"], ["logits"]),
             helper.make_node("Sigmoid", ["logits"], ["scores"]),
             helper.make_node("Concat", ["boxes", "scores"], ["y"], axis=1)]
    return model(nodes, [value("x", [1, 3, size, size])], [value("y", [1, 8, places])], tensors)


def class_map() -> onnx.ModelProto:
    """A segmentation that ends with its ArgMax: a class id (int64) for each pixel."""
    tensors = [weights("w", 8, 3, 3, 3), weights("w2", 5, 8, 1, 1, seed=1)]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("Conv", ["r", "w2"], ["logits"]),
             helper.make_node("ArgMax", ["logits"], ["y"], axis=1, keepdims=0)]
    return model(nodes, [value("x", [1, 3, 32, 32])], [value("y", [1, 32, 32], TensorProto.INT64)], tensors)


def laughs(levels: int, *, recursive: bool = False) -> onnx.ModelProto:
    """Functions of which each calls the one below twice: two to the power of `levels` nodes, in a few hundred bytes."""
    def function(name: str, *calls: str) -> onnx.FunctionProto:
        nodes = [helper.make_node(call, [f"v{n}"], [f"v{n + 1}"], domain="" if call == "Relu" else "laughs")
                 for n, call in enumerate(calls)]
        return helper.make_function("laughs", name, ["v0"], [f"v{len(calls)}"], nodes,
                                    [helper.make_opsetid("", OPSET), helper.make_opsetid("laughs", 1)])

    bottom = function("F0", f"F{levels}") if recursive else function("F0", "Relu")
    made = unary(f"F{levels}", domain="laughs")
    made.functions.extend([bottom, *(function(f"F{level}", *[f"F{level - 1}"] * 2) for level in range(1, levels + 1))])
    return made


def uneven(shape: Shape = (1, 3, 32, 32)) -> onnx.ModelProto:
    """Five convolutions. The second one's channels differ a thousandfold, so that one scale of eight bits for all of
    them loses most; the third one, `conv3`, needs them all."""
    spread = np.logspace(0, -3, 8).astype(np.float32)
    tensors = [weights(f"w{number}", *dims, seed=3) for number, dims in enumerate(
        [(8, 3, 3, 3), (8, 8, 3, 3), (8, 8, 3, 3), (8, 8, 3, 3), (4, 8, 3, 3)], 1)]
    for index, factor in ((1, spread[:, None, None, None]), (2, 1 / spread[None, :, None, None])):
        tensors[index] = numpy_helper.from_array(numpy_helper.to_array(tensors[index]) * factor, tensors[index].name)
    nodes, name = [], "x"
    for number in range(1, 6):
        nodes.append(helper.make_node("Conv", [name, f"w{number}"], [f"c{number}"], name=f"conv{number}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        name = f"r{number}"
    return model(nodes[:-1], [value("x", list(shape))], [value("c5", [shape[0], 4, *shape[2:]])], tensors)


def cancelling(scale: float = 400.0, shape: Shape = (1, 3, 16, 16)) -> onnx.ModelProto:
    """A small signal is added to one that is `scale` times greater, which is then taken away: what eight bits lose of
    the sum is most of the output."""
    large = weights("large", 4, 3, 3, 3, seed=1)
    tensors = [weights("small", 4, 3, 3, 3), numpy_helper.from_array(numpy_helper.to_array(large) * scale, "large")]
    nodes = [node for name in ("small", "large") for node in (
        helper.make_node("Conv", ["x", name], [f"{name}_c"], pads=[1] * 4),
        helper.make_node("Relu", [f"{name}_c"], [f"{name}_r"]))]
    nodes += [helper.make_node("Add", ["small_r", "large_r"], ["sum"]),
              helper.make_node("Sub", ["sum", "large_r"], ["y"])]
    return model(nodes, [value("x", list(shape))], [value("y", [shape[0], 4, *shape[2:]])], tensors)


def unary(operator: str, shape: Shape | None = (1, 4), *, dtype: int = TensorProto.FLOAT, opset: int = OPSET,
          ir: int = IR, domain: str = "", out_shape: Shape | None = (1, 4), **attributes: Any) -> onnx.ModelProto:
    """One operator between x and y."""
    shape = None if shape is None else list(shape)
    return model([helper.make_node(operator, ["x"], ["y"], domain=domain, **attributes)], [value("x", shape, dtype)],
                 [value("y", None if out_shape is None else list(out_shape), dtype)], opset=opset, ir=ir,
                 domains={domain: 1} if domain else None)


def pair(left: Shape = ("n", 4), right: Shape = ("n", 4)) -> onnx.ModelProto:
    """y = a + b."""
    return model([helper.make_node("Add", ["a", "b"], ["y"])], [value("a", list(left)), value("b", list(right))],
                 [value("y", list(left))])


def recurrent() -> onnx.ModelProto:
    """Operators of several outputs: an LSTM, a Split of what it writes, and a GRU whose last state is an output too."""
    tensors = [weights("w", 2, 16, 8), weights("r", 2, 16, 4), weights("gw", 1, 12, 4), weights("gr", 1, 12, 4),
               weights("fc", 4, 3), constant("shape", [5, 1, 8]), constant("halves", [4, 4])]
    return model([helper.make_node("LSTM", ["x", "w", "r"], ["l"], hidden_size=4, direction="bidirectional"),
                  helper.make_node("Transpose", ["l"], ["t"], perm=[0, 2, 1, 3]),
                  helper.make_node("Reshape", ["t", "shape"], ["joined"]),
                  helper.make_node("Split", ["joined", "halves"], ["left", "right"], axis=2),
                  helper.make_node("MatMul", ["left", "fc"], ["scores"]),
                  helper.make_node("GRU", ["right", "gw", "gr"], ["all", "last"], hidden_size=4)],
                 [value("x", [5, 1, 8])],
                 [value("scores", [5, 1, 3]), value("all", [5, 1, 1, 4]), value("last", [1, 1, 4])], tensors)


def embedding() -> onnx.ModelProto:
    """Looks token ids (int64) up in a table of two rows: an id above 1 is out of range."""
    return model([helper.make_node("Gather", ["table", "ids"], ["y"])], [value("ids", [1, 6], TensorProto.INT64)],
                 [value("y", [1, 6, 4])], [weights("table", 2, 4)])


def ratio() -> onnx.ModelProto:
    """y = x / x: NaN for zeros."""
    return model([helper.make_node("Div", ["x", "x"], ["y"])], [value("x", [1, 4])], [value("y", [1, 4])])


def nested(depth: int, flag: Shape = ()) -> onnx.ModelProto:
    """If within If, `depth` deep, by a flag of that shape."""
    def leaf(name: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node("Identity", ["x"], [name])], "leaf", [], [value(name, [1])])

    branch = leaf("v0")
    for level in range(1, depth + 1):
        name = f"v{level}"
        node = helper.make_node("If", ["flag"], [name], then_branch=branch, else_branch=leaf(f"e{level}"))
        branch = helper.make_graph([node], f"level{level}", [], [value(name, [1])])
    return model([node], [value("x", [1]), value("flag", list(flag), TensorProto.BOOL)], [value(name, [1])])


def squeezed_if() -> onnx.ModelProto:
    """Conv, then an If on a dimension that squeezes or does not, as torch exports `squeeze(1)`, then Relu."""
    def branch(operator: str, *inputs: str) -> onnx.GraphProto:
        output = onnx.ValueInfoProto(name=operator.lower())
        output.type.tensor_type.elem_type = TensorProto.FLOAT
        return helper.make_graph([helper.make_node(operator, inputs, [output.name])], operator, [], [output])

    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Shape", ["c"], ["s"]),
             helper.make_node("Gather", ["s", "one"], ["channels"]),
             helper.make_node("Equal", ["channels", "one"], ["is_one"]),
             helper.make_node("If", ["is_one"], ["squeezed"], then_branch=branch("Squeeze", "c", "axes"),
                              else_branch=branch("Identity", "c")), helper.make_node("Relu", ["squeezed"], ["y"])]
    output = onnx.ValueInfoProto(name="y")
    output.type.tensor_type.elem_type = TensorProto.FLOAT
    return model(nodes, [value("x", ["n", 3, 8, 8])], [output],
                 [weights("w", 1, 3, 1, 1), constant("one", 1), constant("axes", [1])])


def choosing_boxes() -> onnx.ModelProto:
    """A detector's head that ends in NonMaxSuppression and the boxes that it leaves."""
    return model(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Reshape", ["c", "flat"], ["r"]),
         helper.make_node("Split", ["r", "parts"], ["b", "s"], axis=1),
         helper.make_node("Transpose", ["b"], ["boxes"], perm=[0, 2, 1]),
         helper.make_node("Sigmoid", ["s"], ["scores"]),
         helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["chosen"]),
         helper.make_node("Gather", ["chosen", "two"], ["index"], axis=1),
         helper.make_node("Squeeze", ["boxes", "axes"], ["flat_boxes"]),
         helper.make_node("Gather", ["flat_boxes", "index"], ["kept"])],
        [value("x", [1, 3, 8, 8])], [value("kept", ["n", 4]), value("chosen", ["n", 3], TensorProto.INT64)],
        [weights("w", 6, 3, 1, 1), constant("flat", [1, 6, 64]), constant("parts", [4, 2]), constant("most", [10]),
         constant("overlap", [0.5], np.float32), constant("least", [0.2], np.float32), constant("two", 2),
         constant("axes", [0])])


def bytes_then_convolution() -> onnx.ModelProto:
    """A picture of bytes, a Cast, and a convolution."""
    return model([helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
                  helper.make_node("Conv", ["f", "w"], ["y"])], [value("x", [1, 3, 8, 8], TensorProto.UINT8)],
                 [value("y", [1, 4, 8, 8])], [weights("w", 4, 3, 1, 1)])


def quantized() -> onnx.ModelProto:
    """A convolution that was quantized before its export, as QuantizeLinear and DequantizeLinear around it tell."""
    return model([helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
                  helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
                  helper.make_node("Conv", ["d", "w"], ["y"])], [value("x", [1, 3, 8, 8])], [value("y", [1, 4, 8, 8])],
                 [weights("w", 4, 3, 1, 1), constant("scale", 1 / 64, np.float32), constant("zero", 128, np.uint8)])


def filled(rows: int, columns: int) -> onnx.ModelProto:
    """x plus a constant of rows x columns that the model computes: folding it would store it."""
    fill = helper.make_node("ConstantOfShape", ["shape"], ["k"], value=constant("one", [1.0], np.float32))
    return model([fill, helper.make_node("Add", ["x", "k"], ["y"])], [value("x", [1])],
                 [value("y", ["rows", "columns"])], [constant("shape", [rows, columns])])


def claims(dims: list[int], data: bytes = b"") -> onnx.ModelProto:
    """An initialiser that claims `dims` of float and holds `data`."""
    tensor = onnx.TensorProto(name="liar", data_type=TensorProto.FLOAT, dims=dims, raw_data=data)
    return model([helper.make_node("Add", ["x", "liar"], ["y"])], [value("x", [1])], [value("y", [1])], [tensor])


def external(folder: Path, location: str = "weights.bin", *, file: str | None = None, cut: int = 0) -> Path:
    """A convolution whose tensors lie in an external file: named `location` in the model, `file` on disk."""
    path = folder / "model.onnx"
    proto = convolution()
    onnx.save_model(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    target = folder / (file or location)
    target.parent.mkdir(parents=True, exist_ok=True)
    data = (folder / "weights.bin").read_bytes()
    (folder / "weights.bin").unlink()
    target.write_bytes(data[:len(data) - cut])
    path.write_bytes(relocate(path.read_bytes(), location))
    return path


def relocate(data: bytes, location: str) -> bytes:
    """The model with all its external data said to lie at `location`."""
    proto = onnx.ModelProto.FromString(data)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    return proto.SerializeToString()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def node_bomb(nodes: int) -> bytes:
    """`nodes` empty nodes of two bytes each: parsing costs many times the bytes."""
    graph = b"\x0a\x00" * nodes
    return b"\x08\x08\x3a" + _varint(len(graph)) + graph + b"\x42\x02\x10\x0d"


def quantized_already(*, relu: bool = True) -> onnx.ModelProto:
    """A convolution in QDQ form, as training with quantization exports it: scales of its own for weights and
    activations, and where there is a Relu none between the two."""
    stored = np.random.default_rng(2).integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
    tensors = [constant("xs", 1 / 64, np.float32), constant("xz", 128, np.uint8), constant("wq", stored, np.int8),
               constant("ws", np.linspace(0.002, 0.004, 8), np.float32), constant("wz", [0] * 8, np.int8),
               constant("ys", 0.05, np.float32), constant("yz", 100, np.uint8)]
    last = "r" if relu else "c"
    nodes = [helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
             helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
             helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"], axis=0),
             helper.make_node("Conv", ["xd", "wd"], ["c"], pads=[1, 1, 1, 1]),
             *([helper.make_node("Relu", ["c"], ["r"])] if relu else []),
             helper.make_node("QuantizeLinear", [last, "ys", "yz"], ["yq"]),
             helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["y"])]
    return model(nodes, [value("x", [1, 3, 16, 16])], [value("y", [1, 8, 16, 16])], tensors)


def unread_input() -> onnx.ModelProto:
    """Two inputs, the first of which nothing reads on the way to the output."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["y"]),
             helper.make_node("Shape", ["unread"], ["nowhere"])]
    return model(nodes, [value("unread", [1, 7]), value("x", [1, 3, 16, 16])], [value("y", [1, 8, 16, 16])],
                 [weights("w", 8, 3, 3, 3)])


def classes(shape: Shape = (1, 3, 16, 16)) -> onnx.ModelProto:
    """A class for each pixel: the only output is int64."""
    return model([helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
                  helper.make_node("ArgMax", ["c"], ["class"], axis=1, keepdims=0)], [value("x", list(shape))],
                 [value("class", [shape[0], *shape[2:]], TensorProto.INT64)], [weights("w", 5, 3, 3, 3)])


def colour_differences() -> onnx.ModelProto:
    """A mean over 5 x 5 pixels of each channel, then the differences of the channels: where all means are cut off
    alike, nothing is left."""
    mean = np.full((3, 1, 5, 5), 1 / 25, np.float32)
    differ = np.array([[1, -1, 0], [0, 1, -1], [-1, 0, 1]], np.float32)
    return model([helper.make_node("Conv", ["x", "mean"], ["means"], group=3),
                  helper.make_node("Conv", ["means", "differ"], ["y"])], [value("x", [1, 3, 32, 32])],
                 [value("y", [1, 3, 28, 28])], [numpy_helper.from_array(mean, "mean"),
                                                numpy_helper.from_array(differ[..., None, None], "differ")])


def variances() -> onnx.ModelProto:
    """Normalises by a variance of millions, from a ReduceMean of squares: inputs and output are small."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["c", "scale"], ["large"]),
             helper.make_node("Mul", ["large", "large"], ["square"]),
             helper.make_node("ReduceMean", ["square"], ["variance"], axes=[1], keepdims=1),
             helper.make_node("Sqrt", ["variance"], ["deviation"]),
             helper.make_node("Div", ["large", "deviation"], ["y"])]
    return model(nodes, [value("x", [1, 3, 16, 16])], [value("y", [1, 16, 16, 16])],
                 [weights("w", 16, 3, 1, 1), constant("scale", 4000, np.float32)])


def normalising() -> onnx.ModelProto:
    """A layer normalisation in the small operators of an exporter before opset 17, between two multiplications."""
    kinds = [("MatMul", ["x", "w"], "h"), ("ReduceMean", ["h"], "mean"), ("Sub", ["h", "mean"], "apart"),
             ("Pow", ["apart", "two"], "squares"), ("ReduceMean", ["squares"], "variance"),
             ("Add", ["variance", "little"], "more"), ("Sqrt", ["more"], "spread"),
             ("Div", ["apart", "spread"], "even"),
             ("Mul", ["even", "scale"], "scaled"), ("Add", ["scaled", "shift"], "moved"),
             ("MatMul", ["moved", "w"], "y")]
    nodes = [helper.make_node(kind, inputs, [output], **({"axes": [-1]} if kind == "ReduceMean" else {}))
             for kind, inputs, output in kinds]
    numbers = [constant("two", 2, np.float32), constant("little", 1e-5, np.float32), weights("w", 64, 64),
               weights("scale", 64, seed=1), weights("shift", 64, seed=2)]
    return model(nodes, [value("x", (1, 24, 64))], [value("y", (1, 24, 64))], numbers, opset=17)
