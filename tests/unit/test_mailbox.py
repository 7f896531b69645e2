"""Whose turn it is, and what the receiver wants; the mailbox's two sides by hand."""
from __future__ import annotations

import time
from collections import Counter
from types import SimpleNamespace

import pytest

from shared.messages import ControlTask, RunTask
from shared.queue import Delivery
from shared.queue.mailbox import LINGER_S, NOBODY, Mailbox, QueueName


def queues(*platforms: str) -> list[QueueName]:
    return [(platform, priority) for platform in platforms for priority in ("high", "normal", "low")]


INTEL = frozenset({"intel"})


def put(mailbox: Mailbox, queue: QueueName) -> None:
    message = RunTask(task_id=queue[1], epoch=0, platform=queue[0], priority=queue[1])
    mailbox.put_run(queue, Delivery(message, ack=lambda: None, requeue=lambda: None))


def receive(mailbox: Mailbox, *platforms: str, timeout_s: float = 0) -> Delivery | None:
    mailbox.expect(frozenset(platforms))
    return mailbox.receive(timeout_s)


def take(mailbox: Mailbox, among: list[QueueName]) -> QueueName:
    """As the link and the receiver do: the first doorbell in order goes into the mailbox, and out of it."""
    queue = mailbox.order(among)[0]
    put(mailbox, queue)
    message = receive(mailbox, *(platform for platform, _ in among)).message
    assert (message.platform, message.priority) == queue
    return queue


def test_thirteen_turns_are_eight_high_four_normal_and_one_low() -> None:
    mailbox, among = Mailbox(), queues("intel")
    for _ in range(3):
        assert Counter(take(mailbox, among)[1] for _ in range(13)) == {"high": 8, "normal": 4, "low": 1}


def test_the_first_turn_is_high_and_the_rest_follow_by_priority() -> None:
    assert [priority for _, priority in Mailbox().order(queues("intel"))] == ["high", "normal", "low"]


def test_no_target_is_starved_by_another_whatever_their_number() -> None:
    for count in (1, 2, 3, 7, 13, 14, 26):
        mailbox, among = Mailbox(), queues(*(f"p{i}" for i in range(count)))
        taken = Counter(take(mailbox, among) for _ in range(13 * count))
        assert set(taken) == set(among), count
        for priority, share in (("high", 8), ("normal", 4), ("low", 1)):
            assert {taken[queue] for queue in among if queue[1] == priority} == {share}, count


def test_a_target_that_has_room_only_now_and_then_gets_its_turn_when_it_has() -> None:
    for with_room in ((["a", "b"], ["c"]), (["a", "b"], ["a", "b", "c"]), (["a", "b"], ["b", "c"], ["a"])):
        mailbox, among = Mailbox(), queues("a", "b", "c")
        taken = Counter(take(mailbox, [queue for queue in among if queue[0] in with_room[number % len(with_room)]])
                        for number in range(39))
        assert all(taken[platform, "high"] >= 4 for platform in "abc"), taken


def test_of_several_in_hand_the_one_whose_turn_it_is_goes_first() -> None:
    mailbox = Mailbox()
    for queue in reversed(queues("intel")):
        put(mailbox, queue)
    assert [receive(mailbox, "intel").message.task_id for _ in range(3)] == ["high", "normal", "low"]


def test_of_several_in_hand_only_those_of_targets_with_room_are_received() -> None:
    mailbox = Mailbox()
    put(mailbox, ("intel", "high"))
    put(mailbox, ("rockchip", "low"))
    assert receive(mailbox, "rockchip").message.platform == "rockchip"
    assert receive(mailbox, "rockchip") is None
    assert receive(mailbox, "intel").message.platform == "intel"


def test_doorbells_in_hand_are_kept_for_a_moment_and_then_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox, now = Mailbox(), [0.0]
    monkeypatch.setattr("shared.queue.mailbox.time", SimpleNamespace(monotonic=lambda: now[0]))
    mailbox.expect(INTEL)
    demand = mailbox.demand()
    assert (demand.platforms, demand.more, demand.for_s) == (INTEL, True, float("inf"))
    for queue in queues("intel"):
        put(mailbox, queue)
    assert not mailbox.demand().more
    assert mailbox.receive(0)
    demand = mailbox.demand()
    assert (demand.platforms, demand.more) == (INTEL, False) and 0 < demand.for_s <= LINGER_S
    assert mailbox.take_back() == []
    now[0] += LINGER_S
    assert mailbox.demand().platforms == NOBODY
    assert len(mailbox.take_back()) == 2
    assert receive(mailbox, "intel") is None


def test_doorbells_in_hand_are_given_back_at_once_when_the_last_slot_is_taken() -> None:
    mailbox = Mailbox()
    put(mailbox, ("intel", "low"))
    mailbox.expect(NOBODY)
    assert mailbox.demand().platforms == NOBODY and not mailbox.demand().more
    assert len(mailbox.take_back()) == 1


def test_a_full_targets_doorbells_are_given_back_at_once_and_no_hindrance_to_fetch_others() -> None:
    mailbox = Mailbox()
    mailbox.expect(INTEL | {"rockchip"})
    put(mailbox, ("intel", "low"))
    put(mailbox, ("intel", "high"))
    put(mailbox, ("rockchip", "low"))
    mailbox.expect(INTEL)
    assert [delivery.message.platform for delivery in mailbox.take_back()] == ["rockchip"]
    mailbox.expect(frozenset({"rockchip"}))
    assert mailbox.demand().more
    assert [delivery.message.platform for delivery in mailbox.take_back()] == ["intel", "intel"]


def test_control_messages_of_one_task_are_one_until_received() -> None:
    mailbox = Mailbox()
    mailbox.watch("t1")
    for epoch in (1, 2, 3):
        mailbox.put_control(ControlTask(task_id="t1", epoch=epoch))
    assert receive(mailbox).message.epoch == 3
    assert receive(mailbox) is None


def test_control_messages_of_tasks_that_nobody_watches_are_dropped() -> None:
    mailbox = Mailbox()
    mailbox.put_control(ControlTask(task_id="t1", epoch=1))
    assert receive(mailbox) is None


def test_a_wake_before_receive_is_not_lost() -> None:
    mailbox = Mailbox()
    mailbox.wake()
    started = time.monotonic()
    assert receive(mailbox, timeout_s=120) is None
    assert time.monotonic() - started < 20
