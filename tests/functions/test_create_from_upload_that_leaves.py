"""POST /tasks/create with an upload that is about to be removed: no task is made whose input goes."""
from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.files import Files
from shared.lifetimes.leaving import forget_leaving, note_leaving
from shared.settings import get_settings
from shared.store import Store, TaskFilter
from shared.uploads.records import new_upload_id
from tests import models
from tests.functions.service import Answer, Caller

INTEL = {"task_type": "onnx_to_openvino", "platform": "intel"}


@pytest.mark.parametrize("field", ["input_path", "calibration"])
def test_it_is_refused_with_the_reason_and_taken_where_it_stays_after_all(
        call: Caller, store: Store, files: Files, put: Callable[..., str], field: str) -> None:
    upload_id = new_upload_id(0.0)
    path = put(models.convolution(), f"uploads/{upload_id}/m.onnx")
    body = INTEL | ({"input_path": path} if field == "input_path" else {
        "input_path": "models/not-there.onnx",
        "parameters": {"precision": "int8", "calibration": f"uploads/{upload_id}/set", "input_shape": "x:1,3,8,8"}})

    def create() -> Answer:
        return call("create_task", "POST", "/tasks/create", json=body, headers={"Accept-Language": "en"})

    note_leaving(files, get_settings(), upload_id)
    create().assert_error(409, upload_id, "upload it again")
    assert store.list_page(TaskFilter(), 1, 1)[1] == 0
    forget_leaving(files, get_settings(), upload_id)
    assert create().status == 200
