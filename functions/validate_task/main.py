"""POST /tasks/validate: check a request as create would, and store nothing."""
from __future__ import annotations

from shared.api.http import endpoint
from shared.api.validation import validate_request
from shared.creation.requests import CreateTask
from shared.preflight.views import Validation
from shared.settings import get_settings
from shared.texts import Text


@endpoint("POST", "/tasks/validate", scope="read",
          title=Text("校验任务: 不创建任务, 提前检查模型与参数",
                     "Check a request, its model and its calibration set for each target; no task is created"),
          message=Text("校验完成", "checked"), lane="check")
def validate_task(request: CreateTask) -> Validation:
    return validate_request(request, get_settings())
