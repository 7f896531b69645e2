"""A request for conversions, as every door takes it."""
from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shared.documents import Priority
from shared.schema import CallbackText, JsonObject, KeyText, Labels, Name, PathText, StrictModel, wrong

MAX_TARGETS = 16  # of one request


class TargetChoice(StrictModel):
    """What a model is to become: `parameters` as GET /platforms describes them."""

    task_type: Name
    platform: Name
    output_path: PathText | None = Field(None, description="`bucket/object`; by default in the results' bucket")
    overwrite: bool | None = Field(None, description="as the request's own, where it is sent")
    parameters: JsonObject = Field(default_factory=dict, description="over the request's own, name by name: what comes "
                                                                    "of both together has to be right for the target")


class CreateTask(StrictModel):
    """One target by `task_type` and `platform`, or several by `targets`: then a task for each, in one group."""

    targets: list[TargetChoice] | None = Field(None, min_length=1, max_length=MAX_TARGETS,
                                               description="instead of task_type, platform and output_path")
    task_type: Name | None = Field(None, validate_default=True)
    platform: Name | None = Field(None, validate_default=True)
    input_path: PathText = Field(description="`bucket/object`")
    output_path: PathText | None = Field(None, description="`bucket/object`; by default in the results' bucket")
    overwrite: bool = Field(False, description="results may replace objects that lie there; without it only those of "
                                               "an earlier task of the same target")
    parameters: JsonObject = Field(default_factory=dict, description="as GET /platforms describes them")
    priority: Priority = "normal"
    idempotency_key: KeyText | None = None
    labels: Labels = Field(default_factory=dict)
    callback_url: CallbackText | None = Field(None, description="where a signed POST says that the task has ended; "
                                                                "each of a group says so for itself")

    @field_validator("task_type", "platform", "output_path")
    @classmethod
    def _check_one_target_or_several(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "targets" not in info.data:  # `targets` was sent and is wrong, which another error says already
            return value
        several = info.data["targets"] is not None
        if several and value is not None:
            raise wrong("不得与 targets 同时使用", "must not be sent together with targets")
        if not several and value is None and info.field_name != "output_path":
            raise PydanticCustomError("missing", "Field required")
        return value
