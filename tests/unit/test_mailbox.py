"""Whose turn it is, and what the receiver wants; the mailbox's two sides by hand."""
from __future__ import annotations

import time
from collections import Counter

from shared.messages import ControlTask, RunTask
from shared.queue import Delivery
from shared.queue.mailbox import LINGER_S, Demand, Mailbox, QueueName


def queues(*platforms: str) -> list[QueueName]:
    return [(platform, priority) for platform in platforms for priority in ("high", "normal", "low")]


def take(mailbox: Mailbox, among: list[QueueName]) -> QueueName:
    """As the link and the receiver do: the first doorbell in order goes into the mailbox, and out of it."""
    queue = mailbox.order(among)[0]
    message = RunTask(task_id="t", epoch=0, platform=queue[0], priority=queue[1])
    mailbox.put_run(queue, Delivery(message, ack=lambda: None, requeue=lambda: None))
    assert mailbox.receive(True, 0).message is message
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


def test_of_several_in_hand_the_one_whose_turn_it_is_goes_first() -> None:
    mailbox = Mailbox()
    for queue in reversed(queues("intel")):
        message = RunTask(task_id=queue[1], epoch=0, platform="intel", priority=queue[1])
        mailbox.put_run(queue, Delivery(message, ack=lambda: None, requeue=lambda: None))
    assert [mailbox.receive(True, 0).message.task_id for _ in range(3)] == ["high", "normal", "low"]


def test_doorbells_in_hand_are_kept_for_a_moment_and_then_given_back() -> None:
    mailbox = Mailbox()
    mailbox.expect(True)
    assert mailbox.demand()[0] is Demand.MORE
    for queue in queues("intel"):
        message = RunTask(task_id=queue[1], epoch=0, platform="intel", priority=queue[1])
        mailbox.put_run(queue, Delivery(message, ack=lambda: None, requeue=lambda: None))
    assert mailbox.receive(True, 0)
    demand, left_s = mailbox.demand()
    assert demand is Demand.KEEP and 0 < left_s <= LINGER_S
    time.sleep(LINGER_S)
    assert mailbox.demand()[0] is Demand.NONE
    assert len(mailbox.take_back()) == 2
    assert mailbox.receive(True, 0) is None


def test_doorbells_in_hand_are_given_back_at_once_when_the_last_slot_is_taken() -> None:
    mailbox = Mailbox()
    mailbox.put_run(("intel", "low"), Delivery(RunTask(task_id="t", epoch=0, platform="intel", priority="low"),
                                               ack=lambda: None, requeue=lambda: None))
    mailbox.expect(False)
    assert mailbox.demand()[0] is Demand.NONE
    assert len(mailbox.take_back()) == 1


def test_control_messages_of_one_task_are_one_until_received() -> None:
    mailbox = Mailbox()
    mailbox.watch("t1")
    for epoch in (1, 2, 3):
        mailbox.put_control(ControlTask(task_id="t1", epoch=epoch))
    assert mailbox.receive(False, 0).message.epoch == 3
    assert mailbox.receive(False, 0) is None


def test_control_messages_of_tasks_that_nobody_watches_are_dropped() -> None:
    mailbox = Mailbox()
    mailbox.put_control(ControlTask(task_id="t1", epoch=1))
    assert mailbox.receive(False, 0) is None


def test_a_wake_before_receive_is_not_lost() -> None:
    mailbox = Mailbox()
    mailbox.wake()
    started = time.monotonic()
    assert mailbox.receive(False, 5) is None
    assert time.monotonic() - started < 1
