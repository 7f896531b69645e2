"""What the pre-flight knows of operators is what the locked packages and the toolchains say."""
from __future__ import annotations

import json

import onnx
import pytest

from infra.operators.cases import collect
from infra.operators.standard import table
from shared.platforms import get_platforms
from shared.platforms.base import Operators
from shared.preflight import onnx_operators
from shared.preflight.judge import judge_operators
from shared.preflight.onnx_operators import is_runtimes_own, is_standard
from tests.fixtures.preflight import read_here
from tests.fixtures.stages import Conversion, real_model

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


def test_the_runtimes_own_operators_are_told_from_unknown_ones() -> None:
    assert is_runtimes_own("com.microsoft", "Gelu") and not is_runtimes_own("com.microsoft", "Foo")
    assert not is_runtimes_own("", "Relu")


@pytest.mark.parametrize("target", LISTED)
def test_a_targets_list_names_operators_of_onnx_and_contradicts_nothing(target: str) -> None:
    operators = LISTED[target]
    names = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert operators.known | operators.refused <= names
    assert operators.known.isdisjoint(operators.refused)
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


def test_only_what_certainly_meets_the_compiler_is_a_problem() -> None:
    problem, warnings = judge_operators(facts(["Conv", "Det", "If"]), LIST, SENT)
    assert problem.code == "unsupported_operator" and "Det, If" in problem.message and not warnings
    for parameters in (SENT | {"precision": "int8"}, SENT | {"allow_cpu": True}):
        problem, warnings = judge_operators(facts(["Conv", "Det"]), LIST, parameters)
        assert problem is None and "Det" in warnings[0].en
    problem, warnings = judge_operators(facts(["Conv"], folded=["Det"]), LIST, SENT)
    assert problem is None and "Det" in warnings[0].en


def test_of_a_model_that_is_cut_only_what_is_left_counts() -> None:
    whole = facts(["Conv", "Sigmoid", "Det"])
    assert judge_operators(whole, LIST, SENT | {"outputs": ["t2"]}) == (None, [])
    assert judge_operators(whole, LIST, SENT | {"inputs": ["t2"]})[0].code == "unsupported_operator"
    assert judge_operators(facts(["Det", "Conv"]), LIST, SENT | {"inputs": ["t1"]}) == (None, [])
    too_large = whole | {"graph": None}  # to tell which part an operator is in
    problem, warnings = judge_operators(too_large, LIST, SENT | {"outputs": ["t2"]})
    assert problem is None and "Det" in warnings[0].en
    assert judge_operators(too_large, LIST, SENT)[0].code == "unsupported_operator"


def test_where_most_of_the_network_can_be_kept_the_cut_is_named() -> None:
    def advice(*operators: str) -> str:
        return judge_operators(facts(list(operators)), LIST, SENT)[0].hint

    assert 'parameters.outputs = ["t2"]' in advice("Conv", "Sigmoid", "Det")
    assert 'parameters.inputs = ["t1"]' in advice("Det", "Conv", "Conv")
    assert "parameters." not in advice("Conv", "Det", "Conv", "Conv", "Det", "Conv")


def test_what_a_vendor_publishes_refuses_nothing_and_says_what_it_is() -> None:
    published = Operators("CANN 1", frozenset({"Conv"}), frozenset(), {}, (), published=True)
    problem, warnings = judge_operators(facts(["Conv", "Loop"]), published, {})
    assert problem is None and "Loop" in warnings[0].en and "published list" in warnings[1].en
    _, warnings = judge_operators(facts(["Conv"]), published, {})
    assert len(warnings) == 1 and "CANN 1" in warnings[0].en and "CANN 1" in warnings[0].zh


def test_what_is_on_no_list_is_a_warning_and_what_the_model_defines_itself_is_none() -> None:
    problem, warnings = judge_operators(facts(["Conv", "Mystery", "Own"], functions=[["", "Own"]]), LIST, SENT)
    assert problem is None and "Mystery" in warnings[0].en and "Own" not in warnings[0].en
    assert judge_operators(facts(["Conv"], folded=["Constant"]), LIST, SENT) == (None, [])


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
    problem, _ = judge_operators(read_here(real_model(model).read_bytes()), LISTED[target],
                                 {"precision": "fp16", "chip": get_platforms()[target].example.get("chip")})
    assert problem is None
