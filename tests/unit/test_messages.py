from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.messages import MAX_BYTES, ControlTask, RunTask, decode

RUN = {"v": 1, "type": "run", "task_id": "task_1_2", "epoch": 3, "msg_id": "m", "created_at": 1.5, "platform": "intel",
       "priority": "high"}


def run(**changes: object) -> bytes:
    return json.dumps({**RUN, **changes}).encode()


@given(task_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128),
       epoch=st.integers(0, 2**40), priority=st.sampled_from(["high", "normal", "low"]))
def test_a_doorbell_survives_the_wire(task_id: str, epoch: int, priority: str) -> None:
    message = RunTask(task_id=task_id, epoch=epoch, platform="intel", priority=priority)
    assert decode(message.encode()) == message


def test_a_control_message_survives_the_wire() -> None:
    message = ControlTask(task_id="task_1_2", epoch=7)
    assert decode(message.encode()) == message


def test_the_envelope_carries_ids_only() -> None:
    assert set(json.loads(RunTask(task_id="t", epoch=0, platform="intel", priority="low").encode())) == set(RUN)


def test_each_message_has_an_id_of_its_own() -> None:
    assert ControlTask(task_id="t", epoch=0).msg_id != ControlTask(task_id="t", epoch=0).msg_id


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        ControlTask(task_id="t", epoch=0).epoch = 1


def test_the_longest_message_is_below_the_limit() -> None:
    longest = RunTask(task_id="\x01" * 128, epoch=2**62, platform="\x01" * 64, priority="normal", msg_id="\x01" * 64)
    assert decode(longest.encode()) == longest


@pytest.mark.parametrize("body", [
    b"", b"\xff\xfe", b"null", b"[]", b"1", b'"run"', b"{}", b"{" * 100_000, b'{"type":"run"}',
    run(v=2), run(v="1"), run(v=True), run(type="start"), run(type=None),
    run(task_id=""), run(task_id="x" * 129), run(task_id=5), run(task_id=None), run(task_id={"$ne": None}),
    run(epoch=-1), run(epoch="3"), run(epoch=1.5), run(epoch=True), run(epoch=None),
    run(priority="urgent"), run(priority=None), run(platform="x" * 65), run(platform=["intel"]),
    run(msg_id="x" * 65), run(created_at="now"), run(created_at=float("nan")), run(created_at=float("inf")),
    run(v=0), run(v=None), run(platform=None),
    run() + b" " * MAX_BYTES, run() + run(),
], ids=lambda body: repr(body[:120]))
def test_what_is_no_message_of_this_version_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a message of version 1"):
        decode(body)


def test_a_field_that_a_later_version_has_added_is_passed_over() -> None:
    assert decode(run(url="amqp://elsewhere", trace={"id": 1})) == decode(run())
    assert decode(run(type="control")) == ControlTask(**{name: RUN[name] for name in (
        "v", "task_id", "epoch", "msg_id", "created_at")})


def test_a_refusal_names_the_fields_and_not_what_is_in_them() -> None:
    with pytest.raises(ValueError, match=r"version 1: epoch, v$"):
        decode(run(v=2, epoch="secret"))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_never_crash(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a message"):
        decode(body)
