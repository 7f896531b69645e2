"""What is refused before anything runs, and the two halves of the chips' table."""
from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shared.platforms.qualcomm import QualcommParameters
from shared.platforms.qualcomm_chips import CHIPS, PART_NUMBERS
from worker.platforms.qualcomm import chips

CALIBRATION = "models/calibration"


def parameters(**given: Any) -> QualcommParameters:
    if given.get("precision") in ("int8", "int16"):
        given.setdefault("calibration", CALIBRATION)
    return QualcommParameters.model_validate({"chip": "SM8650", **given})


def refusal(**given: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        parameters(**given)
    return str(caught.value)


def test_a_chip_is_known_by_its_part_number_and_by_its_name_in_the_shops() -> None:
    assert parameters(chip="SM8650") == parameters(chip="Snapdragon 8 Gen 3")
    assert parameters(chip="QCS6490", precision="int8").chip == "QCM6490"


@pytest.mark.parametrize("chip", [None, "", "sm8650", "SM9999", 57])
def test_an_unknown_chip_is_refused(chip: Any) -> None:
    assert "chip" in refusal(chip=chip)


def test_without_a_chip_there_is_no_task() -> None:
    with pytest.raises(ValidationError, match="chip"):
        QualcommParameters.model_validate({})


def test_each_name_means_one_chip() -> None:
    names = [name for part, chip in CHIPS.items() for name in (part, *chip.names)]
    assert len(set(names)) == len(names) == len(PART_NUMBERS)


def test_the_compiler_has_numbers_for_exactly_the_chips_that_clients_may_name() -> None:
    assert chips.CHIPS.keys() == CHIPS.keys()
    numbers = [soc_model for soc_model, _ in chips.CHIPS.values()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("chip", [name for name, facts in CHIPS.items() if not facts.fp16])
def test_a_chip_for_quantized_models_refuses_floating_point(chip: str) -> None:
    assert "quantized models only" in refusal(chip=chip)
    assert parameters(chip=chip, precision="int8").precision == "int8"


@pytest.mark.parametrize("chip", CHIPS)
def test_no_more_vtcm_than_the_chip_has(chip: str) -> None:
    has = CHIPS[chip].vtcm_mb
    assert parameters(chip=chip, precision="int8", vtcm_mb=has).vtcm_mb == has
    assert f"{has} MiB" in refusal(chip=chip, precision="int8", vtcm_mb=has + 1)


@pytest.mark.parametrize("given", [
    {"calibrate_method": "Entropy"}, {"per_channel": False}, {"weight_type": "QUInt8"}, {"mixed_precision": False},
    {"offload_graph_io_quantization": True, "allow_cpu": True}])
def test_what_only_quantized_models_read_is_refused_for_others(given: dict[str, Any]) -> None:
    name = next(iter(given))
    assert f"{name} needs precision int8 or int16" in refusal(**given)
    assert getattr(parameters(precision="int8", **given), name) == given[name]


def test_weights_of_16_bits_go_with_activations_of_16_bits() -> None:
    assert "needs precision int16" in refusal(precision="int8", weight_type="QInt16")
    assert parameters(precision="int16", weight_type="QInt16").weight_type == "QInt16"


def test_quantizing_inputs_on_the_cpu_needs_leave_to_use_it() -> None:
    assert "needs allow_cpu" in refusal(precision="int8", offload_graph_io_quantization=True)


@pytest.mark.parametrize("precision", ["int8", "int16"])
def test_quantizing_needs_a_calibration_set(precision: str) -> None:
    assert "needs calibration" in refusal(precision=precision, calibration=None)


@pytest.mark.parametrize("given", [
    {"precision": "fp32"}, {"htp_graph_finalization_optimization_mode": 4}, {"vtcm_mb": 0}, {"simulated_samples": 0},
    {"std": [1.0, 0.0, 1.0]}, {"soc_model": 57}, {"calibrate_method": "Guess"}])
def test_values_that_do_not_exist_are_refused(given: dict[str, Any]) -> None:
    assert next(iter(given)) in refusal(**given) or "std" in given


def test_the_chips_that_were_compiled_for_and_their_facts_are_told_in_the_schema() -> None:
    schema = QualcommParameters.model_json_schema()
    assert set(schema["properties"]["chip"]["enum"]) == set(PART_NUMBERS)
