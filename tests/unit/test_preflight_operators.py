"""What the pre-flight knows of operators is what the locked packages and the toolchains say."""
from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

from infra.operators.cases import collect
from infra.operators.standard import table
from shared.platforms import get_platforms
from shared.platforms.base import Operators
from shared.preflight import onnx_operators
from shared.preflight.demands import (
    judge_operators,
    judge_opset,
    judge_quantized,
    judge_reference,
    judge_types,
    warn_of_values,
)
from shared.preflight.onnx_operators import is_runtimes_own, is_standard
from tests import models
from tests.fixtures.preflight import read_here
from tests.fixtures.stages import Conversion, real_model
from worker.platforms.rockchip.arguments import INPUT_DTYPES
from worker.platforms.rockchip.prepare import NEWEST_OPSET

LISTED = {name: platform.operators for name, platform in get_platforms().items() if platform.operators}


def test_the_table_is_the_one_of_the_locked_packages() -> None:
    """Else: python -m infra.operators."""
    assert json.loads(json.dumps(table())) == onnx_operators._table()


def test_each_operator_is_defined_in_just_the_versions_in_which_onnx_defines_it() -> None:
    schemas = onnx.defs.get_all_schemas_with_history()
    for domain, name in {(schema.domain, schema.name) for schema in schemas}:
        for version in range(1, onnx.defs.onnx_opset_version() + 1):
            # Deprecated operators are gone but for this one: ONNX itself spells it out in others.
            known = onnx.defs.has(name, version, domain) and (
                name == "GroupNormalization" or not onnx.defs.get_schema(name, version, domain).deprecated)
            assert is_standard(domain, name, {domain or "ai.onnx": version}) == known, (domain, name, version)
    assert not is_standard("", "Foo", {"ai.onnx": 17}) and not is_standard("acme", "Relu", {"acme": 17})


def test_what_cannot_be_converted_down_is_refused_only_where_the_model_is_newer_than_the_tool() -> None:
    def code(operator: str, opset: int, **parameters: object) -> str | None:
        problem = judge_opset(read_here(models.unary(operator, opset=opset)), 19, parameters)
        return problem.code if problem else None

    assert code("CumProd", 26) == "opset_unsupported" and code("Relu", 22) is None and code("Relu", 19) is None
    # The converter has no adapter for the first; ONNX spells the second one out in others.
    assert code("GlobalMaxPool", 22) is None and code("Gelu", 20) is None
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("CumProd", ["r", "axis"], ["y"])]
    model = read_here(models.model(nodes, [models.value("x", [4])], [models.value("y", [4])],
                                   [models.constant("axis", 0)], opset=26))
    assert judge_opset(model, 19, {}) and not judge_opset(model, 19, {"outputs": ["r"]})
    assert judge_opset(model, None, {}) is None


def test_what_onnx_runtime_cannot_run_is_told_before_unless_nothing_is_compared() -> None:
    def said(model: onnx.ModelProto, **parameters: object) -> str | None:
        problem = judge_reference(read_here(model), parameters)
        return f"{problem.code} {problem.message}" if problem else None

    assert "reference_failed" in (old := said(models.unary("Relu", opset=5))) and "Relu (opset 5)" in old
    assert said(models.unary("Relu", opset=6)) is None
    assert said(models.unary("Relu", opset=5), verify={"enabled": False}) is None
    double = models.convolution(dtype=np.float64)
    assert "Conv (double)" in said(double) and said(models.convolution()) is None
    cast = models.model([helper.make_node("Cast", ["x"], ["f"], to=1), helper.make_node("Erf", ["f"], ["y"])],
                        [models.value("x", [4], onnx.TensorProto.DOUBLE)], [models.value("y", [4])])
    assert said(cast) is None


def test_inputs_of_types_that_a_tool_does_not_take_are_named_with_the_way_around_them() -> None:
    rockchip = get_platforms()["rockchip"]
    assert (rockchip.input_dtypes, rockchip.newest_opset) == (INPUT_DTYPES, NEWEST_OPSET)

    def hints(model: onnx.ModelProto, **parameters: object) -> list[str]:
        return [f"{problem.code} {problem.message} {problem.hint}" for problem in judge_types(
            read_here(model), rockchip, {"precision": "fp16", "chip": "rk3588"} | parameters)]

    cast = models.bytes_then_convolution()
    (hint,) = hints(cast)
    assert "unsupported_type" in hint and "x (uint8)" in hint and 'parameters.inputs = ["f"]' in hint
    assert hints(cast, inputs=["f"]) == [] and hints(models.convolution()) == []
    (hint,) = hints(models.unary("Neg", dtype=onnx.TensorProto.INT8))
    assert "x (int8)" in hint and "parameters.inputs" not in hint


@pytest.mark.parametrize(("target", "dtype", "precision", "refused"), [
    ("rockchip", "INT32", "int8", True), ("rockchip", "INT32", "fp16", False), ("rockchip", "INT64", "int8", False),
    ("qualcomm", "UINT8", "fp16", True), ("qualcomm", "UINT8", "int8", False), ("qualcomm", "INT8", "int16", True),
    ("qualcomm", "INT32", "int8", False), ("intel", "UINT8", "int8", False)])
def test_a_cast_that_a_compiler_spoils_is_refused_with_the_way_around_it(target: str, dtype: str, precision: str,
                                                                        refused: bool) -> None:
    model = models.bytes_then_convolution()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DataType.Value(dtype)
    problems = list(judge_types(read_here(model), get_platforms()[target], {"precision": precision}))
    assert [problem.code for problem in problems] == (["unsupported_type"] if refused else [])
    assert all(f"x ({dtype.lower()})" in each.message and 'inputs = ["f"]' in each.hint for each in problems)


def test_an_input_without_dimensions_is_refused_where_the_tool_takes_none() -> None:
    nodes = [helper.make_node("Clip", ["x", "least"], ["y"])]
    inputs = [models.value("x", [4]), models.value("least", [])]
    model = read_here(models.model(nodes, inputs, [models.value("y", [4])]))
    (problem,) = judge_types(model, get_platforms()["rockchip"], {"precision": "fp16", "chip": "rk3588"})
    assert problem.code == "unsupported_type" and "dimensions: least" in problem.message
    assert not list(judge_types(model, get_platforms()["rockchip"], {"fixed_inputs": {"least": 0.0}}))
    assert not list(judge_types(model, get_platforms()["intel"], {"precision": "fp16"}))


def test_what_a_compiler_does_not_take_of_a_type_is_named_with_operator_and_tensor() -> None:
    listed = Operators("test", frozenset({"Cast", "Neg", "Relu"}), frozenset(), {}, (), types={"Neg": ["int8"]})
    platform = replace(get_platforms()["intel"])
    platform.__dict__["operators"] = listed
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Neg", ["r"], ["y"])]
    ends = [models.value("x", [4], onnx.TensorProto.INT8)], [models.value("y", [4], onnx.TensorProto.INT8)]
    (problem,) = judge_types(read_here(models.model(nodes, *ends, opset=14)), platform, {})
    assert problem.code == "unsupported_operator" and "Neg (r: int8)" in problem.message
    cast = [helper.make_node("Cast", ["x"], ["r"], to=1), helper.make_node("Neg", ["r"], ["y"])]
    assert not list(judge_types(read_here(models.model(cast, ends[0], [models.value("y", [4])])), platform, {}))


def warnings_of(model: onnx.ModelProto, target: str = "qualcomm", **parameters: object) -> dict[str, str]:
    return {code: text.en for code, text in warn_of_values(read_here(model), get_platforms()[target], parameters)}


def test_scores_that_are_joined_with_pixels_are_warned_of_in_integer_precisions_alone() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["boxes"]), helper.make_node("Conv", ["x", "v"], ["logits"]),
             helper.make_node("Sigmoid", ["logits"], ["s"]), helper.make_node("Reshape", ["s", "flat"], ["scores"]),
             helper.make_node("Reshape", ["boxes", "flat"], ["corners"]),
             helper.make_node("Concat", ["corners", "scores"], ["all"], axis=1),
             helper.make_node("Transpose", ["all"], ["y"], perm=[0, 2, 1])]
    ends = [models.value("x", [1, 3, 8, 8])], [models.value("y", [1, 64, 8])]
    tensors = [models.weights("w", 4, 3, 1, 1), models.weights("v", 4, 3, 1, 1), models.constant("flat", [1, 4, 64])]
    head = models.model(nodes, *ends, tensors)
    said = warnings_of(head, precision="int8")["scales_joined"]
    assert "output y joins" in said and 'outputs = ["corners", "scores"]' in said
    assert not warnings_of(head, precision="fp16")
    assert not warnings_of(head, precision="int8", outputs=["corners", "scores"])
    nodes[4] = helper.make_node("Sigmoid", ["boxes"], ["corners"])  # all of one range
    assert not warnings_of(models.model(nodes, *ends, tensors), precision="int8")


def test_an_input_that_decides_a_shape_is_to_be_fixed() -> None:
    model = models.model([helper.make_node("Tile", ["x", "times"], ["y"])],
                         [models.value("x", [2, 2]), models.value("times", [2], onnx.TensorProto.INT64)],
                         [models.value("y", [None, None])])
    assert "times; send them in fixed_inputs" in warnings_of(model, "intel", precision="fp16")["input_decides_shape"]
    assert not warnings_of(model, "intel", precision="fp16", fixed_inputs={"times": [1, 2]})


def test_an_integer_precision_is_not_for_what_is_quantized_already_where_the_tool_says_so() -> None:
    def problem(target: str, precision: str, model: onnx.ModelProto) -> str | None:
        found = judge_quantized(read_here(model), get_platforms()[target], {"precision": precision})
        return found.message if found else None

    assert "QuantizeLinear" in problem("rockchip", "int16", models.quantized())
    assert problem("rockchip", "int8", models.quantized()) is None
    assert problem("rockchip", "int16", models.convolution()) is None
    assert problem("qualcomm", "int16", models.quantized()) is None


def test_the_runtimes_own_operators_are_told_from_unknown_ones() -> None:
    assert is_runtimes_own("com.microsoft", "Gelu") and not is_runtimes_own("com.microsoft", "Foo")
    assert not is_runtimes_own("", "Relu")


@pytest.mark.parametrize("target", LISTED)
def test_a_targets_list_names_operators_of_onnx_and_contradicts_nothing(target: str) -> None:
    operators = LISTED[target]
    names = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert operators.known | operators.refused <= names
    assert operators.known.isdisjoint(operators.refused) and {
        name.partition(", ")[0] for name in operators.constant} <= operators.known
    assert {"Conv", "Relu", "MaxPool", "Add", "MatMul", "Concat"} <= operators.known
    assert operators.source and not (operators.published and operators.refused)
    parameters = get_platforms()[target].parameters.model_fields
    assert set(operators.certain_for) | set(operators.unless) <= set(parameters)


def test_openvino_still_refuses_and_takes_what_its_list_says(tmp_path) -> None:
    """Two of each: the whole list is made anew by python -m infra.operators."""
    cases, operators = collect(), LISTED["intel"]
    for name in ("Det", "MaxUnpool"):
        assert name in operators.refused
        with pytest.raises(Exception, match=name):
            Conversion(tmp_path / name, cases[name][0], verify={"enabled": False}).run("compile")
    for name in ("Softmax", "TopK"):
        assert name in operators.known
        Conversion(tmp_path / name, cases[name][0], verify={"enabled": False}).run("compile")


def facts(remaining: list[str], folded: list[str] = (), functions: list[list[str]] = ()) -> dict[str, object]:
    """Of a model whose nodes follow one another."""
    graph = [["", name, [f"t{index}"], [f"t{index + 1}"], "", []] for index, name in enumerate(remaining)]
    return {"functions": functions, "remaining": [["", name] for name in remaining], "graph": graph,
            "inputs": [{"name": "t0"}], "outputs": [{"name": f"t{len(remaining)}"}],
            "operators": [["", name, 1] for name in [*remaining, *folded]]}


LIST = Operators("test", frozenset({"Conv", "Sigmoid"}), frozenset({"Det", "If"}), {"precision": ["fp16"]},
                 ("allow_cpu",))
SENT = {"precision": "fp16", "outputs": None}


def judge(told: dict[str, object], operators: Operators = LIST, **parameters: object) -> tuple[list, list[str]]:
    problems, warnings = judge_operators(told, operators, SENT | parameters)
    return problems, [warning.en for warning in warnings]


def test_only_what_certainly_meets_the_compiler_is_a_problem() -> None:
    (problem,), warnings = judge(facts(["Conv", "Det", "If"]))
    assert problem.code == "unsupported_operator" and "Det, If" in problem.message and not warnings
    for parameters in ({"precision": "int8"}, {"allow_cpu": True}):
        problems, warnings = judge(facts(["Conv", "Det"]), **parameters)
        assert not problems and "Det" in warnings[0]
    problems, warnings = judge(facts(["Conv"], folded=["Det"]))
    assert not problems and "Det" in warnings[0]


def test_of_a_model_that_is_cut_only_what_is_left_counts() -> None:
    whole = facts(["Conv", "Sigmoid", "Det"])
    assert judge(whole, outputs=["t2"]) == ([], [])
    assert judge(whole, inputs=["t2"])[0][0].code == "unsupported_operator"
    assert judge(facts(["Det", "Conv"]), inputs=["t1"]) == ([], [])
    too_large = whole | {"graph": None}  # to tell which part an operator is in
    problems, warnings = judge(too_large, outputs=["t2"])
    assert not problems and "Det" in warnings[0]
    assert judge(too_large)[0][0].code == "unsupported_operator"


def test_where_most_of_the_network_can_be_kept_the_cut_is_named() -> None:
    def advice(*operators: str) -> str:
        return judge(facts(list(operators)))[0][0].hint

    assert 'parameters.outputs = ["t2"]' in advice("Conv", "Sigmoid", "Det")
    assert 'parameters.inputs = ["t1"]' in advice("Det", "Conv", "Conv")
    assert "parameters." not in advice("Conv", "Det", "Conv", "Conv", "Det", "Conv")


def test_a_detector_that_ends_in_its_boxes_choice_is_told_to_end_at_boxes_and_scores() -> None:
    """Squeezed boxes are the boxes still: one of the two is enough."""
    listed = Operators("test", frozenset(), frozenset({"NonMaxSuppression"}), {}, ())
    (problem,), _ = judge(read_here(models.choosing_boxes()), listed)
    assert "NonMaxSuppression" in problem.message and 'parameters.outputs = ["boxes", "scores"]' in problem.hint
    assert judge(read_here(models.choosing_boxes()), listed, outputs=["boxes", "scores"])[0] == []


def test_what_is_computed_where_the_compiler_wants_a_constant_is_a_problem() -> None:
    listed = Operators("test", frozenset({"Slice", "Relu", "Cast"}), frozenset(), {}, (), constant={"Slice": [1, 2]})
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Slice", ["r", "begin", "end"], ["y"])]
    ends = [models.value("x", [4])], [models.value("y", [None])]
    fixed = models.model(nodes, *ends, [models.constant("begin", [0]), models.constant("end", [2])])
    assert judge(read_here(fixed), listed) == ([], [])
    computed = models.model([helper.make_node("Cast", ["x"], ["begin"], to=7), *nodes], *ends,
                            [models.constant("end", [2])])
    (problem,), _ = judge(read_here(computed), listed)
    assert problem.code == "unsupported_operator" and "Slice (begin)" in problem.message
    own = models.model(nodes, [*ends[0], models.value("end", [1], onnx.TensorProto.INT64)], ends[1],
                       [models.constant("begin", [0])])
    (problem,), _ = judge(read_here(own), listed)
    assert "Slice (end)" in problem.message and "fixed_inputs: end" in problem.hint
    assert judge(read_here(own), listed, fixed_inputs={"end": [2]}) == ([], [])


def test_what_a_vendor_publishes_refuses_nothing_and_says_what_it_is() -> None:
    published = Operators("CANN 1", frozenset({"Conv"}), frozenset(), {}, (), published=True)
    problems, warnings = judge(facts(["Conv", "Loop"]), published)
    assert not problems and "Loop" in warnings[0] and "published list" in warnings[1]
    _, warnings = judge(facts(["Conv"]), published)
    assert len(warnings) == 1 and "CANN 1" in warnings[0]


def test_what_is_on_no_list_is_a_warning_and_what_the_model_defines_itself_is_none() -> None:
    problems, warnings = judge(facts(["Conv", "Mystery", "Own"], functions=[["", "Own"]]))
    assert not problems and "Mystery" in warnings[0] and "Own" not in warnings[0]
    assert judge(facts(["Conv"], folded=["Constant"])) == ([], [])


def test_a_models_own_function_has_its_inside_judged(tmp_path) -> None:
    node = onnx.helper.make_node("Twice", ["x"], ["y"], domain="acme")
    graph = onnx.helper.make_graph([node], "g", [], [])
    function = onnx.helper.make_function("acme", "Twice", ["a"], ["b"], [onnx.helper.make_node("Det", ["a"], ["b"])],
                                         [onnx.helper.make_opsetid("", 17)])
    read = read_here(onnx.helper.make_model(graph, functions=[function]))
    assert read["functions"] == [["acme", "Twice"]] and ["", "Det", 1] in read["operators"]


@pytest.mark.parametrize("target", LISTED)
@pytest.mark.parametrize("model", ["det", "rec", "cls"])
def test_of_real_models_that_are_converted_nothing_is_refused(model: str, target: str) -> None:
    problems, _ = judge_operators(read_here(real_model(model).read_bytes()), LISTED[target],
                                  {"precision": "fp16", "chip": get_platforms()[target].example.get("chip")})
    assert problems == []
