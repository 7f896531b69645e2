"""A task's parameters as its stages read them, whichever version of the service made the task."""
from __future__ import annotations

import pytest

from shared.errors import ConversionFailed
from shared.platforms import get_platforms
from tests.integration.worker_kit import make_task
from worker.parameters import in_this_version
from worker.plan import get_plans

TARGETS = sorted(get_plans())


def task_of(name: str, parameters: dict[str, object]):
    platform = get_platforms()[name]
    return make_task(platform=name, task_type=platform.task_types[0], parameters=parameters,
                     output_path=f"out/model{platform.artefact_suffix}")


@pytest.mark.parametrize("name", TARGETS)
def test_a_task_of_this_version_stays_as_it_is(name: str) -> None:
    platform = get_platforms()[name]
    parameters = platform.parameters.model_validate(platform.example).model_dump(mode="json")
    assert in_this_version(task_of(name, parameters), get_plans()[name]).parameters == parameters


@pytest.mark.parametrize("name", TARGETS)
def test_parameters_that_an_older_version_did_not_know_have_their_defaults(name: str) -> None:
    platform = get_platforms()[name]
    full = platform.parameters.model_validate(platform.example).model_dump(mode="json")
    left = {field: value for field, value in full.items() if field in platform.example}
    parameters = in_this_version(task_of(name, left), get_plans()[name]).parameters
    assert parameters.keys() == full.keys() and parameters["verify"] == full["verify"] is not None


@pytest.mark.parametrize("name", TARGETS)
def test_a_parameter_of_a_newer_version_is_refused(name: str) -> None:
    with pytest.raises(ConversionFailed, match="sparsity") as refused:
        in_this_version(task_of(name, {"sparsity": 1}), get_plans()[name])
    assert refused.value.code == "version_mismatch"
