"""Conversions that uploads start are announced too: by their rule, their metadata or their sidecar."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from shared import transitions
from shared.deps import close_all, get_store
from shared.documents import Task
from shared.settings import get_settings
from shared.triggers.rule_file import WrongRules, get_rules
from tests.integration.announcing_kit import SECRET, Receiver, look_once, message_of, receiving

if TYPE_CHECKING:
    from tests.integration.uploads_kit import Uploads

pytest_plugins = ["tests.integration.uploads_kit"]

RULE = '[[rule]]\nname = "r"\nbucket = "{bucket}"\ntarget = "intel"\n'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def begin(start: Callable[..., Uploads], files_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
          ) -> Callable[[str], Uploads]:
    """A service that may announce to the receiver, and these rules."""
    def begin(rules: str) -> Uploads:
        uploads = start(files_url, rules)
        monkeypatch.setenv("MODEL_CONVERT_CALLBACK_SECRET", SECRET)
        monkeypatch.setenv("MODEL_CONVERT_CALLBACK_ALLOW", receiver.place)
        close_all()
        return uploads

    return begin


def announced(uploads: Uploads, receiver: Receiver) -> Task:
    """The only task, once a client has ended it and a worker has looked."""
    (task,) = uploads.tasks()
    assert get_store().update(task.id, transitions.cancel())
    look_once(get_store(), get_settings())
    assert [message_of(one)["data"]["task_id"] for one in receiver.received] == [task.id]
    return task


def test_what_a_rules_upload_starts_is_announced_where_the_rule_says(begin: Callable[[str], Uploads],
                                                                     receiver: Receiver) -> None:
    uploads = begin(RULE + f'callback_url = "{receiver.url}"\n')
    uploads.put("a.onnx")
    uploads.sweep()
    task = announced(uploads, receiver)
    assert task.source is not None and task.source.rule == "r" and task.callback_url == receiver.url


def test_a_sidecar_names_another_receiver_than_the_rule(begin: Callable[[str], Uploads], receiver: Receiver) -> None:
    uploads = begin(RULE + 'callback_url = "https://example.com/"\n')
    uploads.put("a.onnx.toml", f'callback_url = "{receiver.url}"\n'.encode())
    uploads.take_one(uploads.put("a.onnx"))
    announced(uploads, receiver)


def test_one_that_is_not_to_be_called_starts_nothing_and_says_why(begin: Callable[[str], Uploads]) -> None:
    uploads = begin(RULE)
    uploads.put("a.onnx.toml", b'callback_url = "https://127.0.0.1/"\n')
    ignored = uploads.take_one(uploads.put("a.onnx")).ignored
    assert ignored is not None and "callback_url" in ignored.en and "callback_url" in ignored.zh
    assert uploads.tasks() == []


def test_a_rule_that_names_a_receiver_needs_a_secret(start: Callable[..., Uploads], files_url: str) -> None:
    start(files_url, RULE + 'callback_url = "https://example.com/"\n')
    with pytest.raises(WrongRules, match=r"rules\.toml:6: rule\.0\.callback_url .*MODEL_CONVERT_CALLBACK_SECRET"):
        get_rules()
