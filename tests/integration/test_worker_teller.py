"""Every event of every task is told at a real RabbitMQ, whatever is away meanwhile, and in its order."""
from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pika
import pytest

from shared import transitions
from shared.announcements.changes import mark_told
from shared.documents import StoredEvent, Task
from shared.errors import Unavailable, UnreadableDocument
from shared.queue import EventMessage, EventRefused
from shared.queue.rabbitmq import RabbitQueue
from shared.queue.topology import declare, events_declarations
from shared.store import KEPT_EVENTS, Store
from shared.transitions import Change
from tests.contract.store_raw import edit_raw, spoil_event
from tests.fixtures.rabbitmq import PrivateBroker
from tests.integration.worker_kit import LossyStore, make_task, open_store, wait_until
from worker import teller
from worker.teller import Teller, look

SOON_S = 60.0
OPEN = threading.Event()


class Broker:
    """A broker that hands each message to a list, but for those that `refuses` names."""

    problem: type[Unavailable] = Unavailable

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.refuses: Callable[[EventMessage], bool] = lambda message: False

    def take_turn(self) -> bool:
        return True

    def publish(self, messages: Sequence[EventMessage]) -> list[Unavailable | None]:
        return [self._put(message) for message in messages]

    def close(self) -> None: ...

    def _put(self, message: EventMessage) -> Unavailable | None:
        if self.refuses(message):
            return self.problem("queue", "told to")
        self.got.append((message.id, message.type))
        return None

    def of(self, task: Task) -> list[int]:
        return [int(seq) for of, _, seq in (name.partition("/") for name, _ in self.got) if of == task.id]


@pytest.fixture
def store(tmp_path: Path) -> LossyStore:
    return LossyStore(open_store(tmp_path))


@pytest.fixture
def broker() -> Broker:
    return Broker()


def insert(store: Store, more: int = 0) -> Task:
    """A task with an event, and more of them."""
    task = make_task()
    store.insert(task, [transitions.created(task)])
    happen(store, task, more)
    return task


def happen(store: Store, task: Task, times: int) -> None:
    for _ in range(times):
        assert store.update(task.id, Change({}, {}, events=(transitions.created(task),)))


def rests(store: Store) -> bool:
    return store.untold(limit=1) == []


# --- one look ---------------------------------------------------------------------------------------------------------


def test_all_events_are_told_once_and_each_tasks_in_their_order(store: LossyStore, broker: Broker) -> None:
    tasks = [insert(store, more) for more in (0, 3, 1)]
    assert look(store, broker, Counter(), OPEN) is False
    assert [broker.of(task) for task in tasks] == [[1], [1, 2, 3, 4], [1, 2]] and rests(store)
    happen(store, tasks[0], 2)
    look(store, broker, Counter(), OPEN)
    assert broker.of(tasks[0]) == [1, 2, 3] and len(broker.got) == 9 and rests(store)
    assert look(store, broker, Counter(), OPEN) is False and len(broker.got) == 9


def test_an_event_whose_forerunner_is_not_confirmed_waits_and_other_tasks_events_do_not(store: LossyStore,
                                                                                  broker: Broker) -> None:
    stuck, other = insert(store, 3), insert(store, 3)
    broker.refuses = lambda message: message.id == f"{stuck.id}/2"
    for _ in range(2):
        with pytest.raises(Unavailable, match="told to"):
            look(store, broker, Counter(), OPEN)
    assert broker.of(stuck) == [1] and broker.of(other) == [1, 2, 3, 4]
    assert [task.id for task in store.untold(limit=9)] == [stuck.id]
    broker.refuses = lambda message: False
    look(store, broker, Counter(), OPEN)
    assert broker.of(stuck) == [1, 2, 3, 4] and rests(store)


def test_an_event_that_a_listeners_queue_refuses_is_tried_again_and_then_passed_over(
        store: LossyStore, broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    stuck, other, refused, tries = insert(store, 2), insert(store, 2), Counter(), []

    def full(message: EventMessage) -> bool:
        tries.append(message.id)
        return message.id == f"{stuck.id}/2"

    broker.problem, broker.refuses = EventRefused, full
    for count in range(1, teller.TRIES):
        assert look(store, broker, refused, OPEN) is False
        assert tries.count(f"{stuck.id}/2") == count and broker.of(stuck) == [1] and broker.of(other) == [1, 2, 3]
    assert [task.id for task in store.untold(limit=9)] == [stuck.id] and "passed over" not in caplog.text
    with caplog.at_level(logging.WARNING):
        look(store, broker, refused, OPEN)
    assert broker.of(stuck) == [1, 3] and rests(store) and not refused
    assert "an event is passed over, which a listener's queue refuses" in caplog.text


def test_a_refused_event_that_is_taken_then_is_passed_over_by_nobody(store: LossyStore, broker: Broker) -> None:
    task, refused = insert(store, 1), Counter()
    broker.problem, broker.refuses = EventRefused, lambda message: True
    for _ in range(teller.TRIES - 1):
        look(store, broker, refused, OPEN)
    broker.refuses = lambda message: message.id.endswith("/2")  # for the first time
    look(store, broker, refused, OPEN)
    assert broker.of(task) == [1]
    broker.refuses = lambda message: False
    look(store, broker, refused, OPEN)
    assert broker.of(task) == [1, 2] and rests(store)


def test_what_happens_while_it_is_told_is_told_next_and_nothing_twice(store: LossyStore, broker: Broker) -> None:
    task = insert(store, 1)

    def one_more(message: EventMessage) -> bool:
        if message.id.endswith("/1"):
            happen(store, task, 1)
        return False

    broker.refuses = one_more
    look(store, broker, Counter(), OPEN)
    assert broker.of(task) == [1, 2] and not rests(store)
    look(store, broker, Counter(), OPEN)
    assert broker.of(task) == [1, 2, 3] and rests(store)


@pytest.mark.parametrize("lost", [0, 1])
def test_who_dies_before_a_mark_tells_the_same_again_or_leaves_no_more_than_a_look(
        store: LossyStore, broker: Broker, monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """Both marks of a look: how far it has come, and that nothing is left."""
    task, written = insert(store, 1), []

    def dying(changes: Sequence[tuple[str, Change]]) -> None:
        if len(written) == lost:
            raise Unavailable("store", "told to")
        written.append(changes)
        store._store.update_many(changes)

    monkeypatch.setattr(store, "update_many", dying, raising=False)
    with pytest.raises(Unavailable):
        look(store, broker, Counter(), OPEN)
    monkeypatch.undo()
    assert not rests(store)
    look(store, broker, Counter(), OPEN)
    assert broker.of(task) == ([1, 2, 1, 2], [1, 2])[lost] and rests(store)


def test_a_mark_never_goes_back(store: LossyStore, broker: Broker) -> None:
    """Another worker has told more while this one stood still."""
    task = insert(store, 3)

    def overtaken(message: EventMessage) -> bool:
        if message.id.endswith("/2"):
            assert store.update(task.id, mark_told(task, 4, all_told=True))
        return message.id.endswith("/3")

    broker.refuses = overtaken
    with pytest.raises(Unavailable):
        look(store, broker, Counter(), OPEN)
    found = store.get(task.id)
    assert found is not None and found.told == 4 and rests(store)


def test_many_events_and_many_tasks_are_told_in_several_looks(store: LossyStore, broker: Broker,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teller, "EVENTS", 3)
    monkeypatch.setattr(teller, "TASKS", 2)
    tasks = [insert(store, more) for more in (6, 0, 2, 3)]
    looks = 1
    while look(store, broker, Counter(), OPEN):
        looks += 1
    assert rests(store) and looks > 3
    assert [broker.of(task) for task in tasks] == [[1, 2, 3, 4, 5, 6, 7], [1], [1, 2, 3], [1, 2, 3, 4]]


@pytest.mark.parametrize("spoiled", [1, 2, 3])
def test_an_event_that_cannot_be_read_is_passed_over(store: LossyStore, broker: Broker, spoiled: int,
                                                     caplog: pytest.LogCaptureFixture) -> None:
    task, other = insert(store, 2), insert(store, 2)
    spoil_event(store._store, task.id, spoiled)
    with caplog.at_level(logging.WARNING):
        while look(store, broker, Counter(), OPEN):
            pass
    assert broker.of(task) == [seq for seq in (1, 2, 3) if seq != spoiled] and broker.of(other) == [1, 2, 3]
    assert rests(store) and "events of a task are lost" in caplog.text


def test_a_task_that_cannot_be_read_holds_up_no_other(store: LossyStore, broker: Broker) -> None:
    task, other = insert(store), insert(store)
    edit_raw(store._store, task.id, status="archived")
    look(store, broker, Counter(), OPEN)
    assert broker.of(other) == [1] and broker.of(task) == []


def test_a_task_whose_events_cannot_be_read_at_all_holds_up_no_other(store: LossyStore, broker: Broker,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """As MongoDB's adapter says of a list of events that is none."""
    task, other = insert(store), insert(store)

    def events(task_id: str, after: int = 0) -> list[StoredEvent] | None:
        if task_id == task.id:
            raise UnreadableDocument("task", task_id, "events")
        return store._store.events(task_id, after)

    monkeypatch.setattr(store, "events", events, raising=False)
    look(store, broker, Counter(), OPEN)
    assert broker.of(other) == [1] and broker.of(task) == [] and rests(store)


def test_more_events_than_a_task_keeps_are_lost_and_it_is_told_in_the_log(store: LossyStore, broker: Broker,
                                                                          caplog: pytest.LogCaptureFixture) -> None:
    task = insert(store, KEPT_EVENTS + 4)
    with caplog.at_level(logging.WARNING):
        while look(store, broker, Counter(), OPEN):
            pass
    assert broker.of(task) == list(range(6, KEPT_EVENTS + 6)) and rests(store)
    assert [vars(record)["events"] for record in caplog.records if "lost" in record.message] == [5]


def test_a_task_that_is_deleted_meanwhile_is_none_to_tell_of(store: LossyStore, broker: Broker,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    gone, other = insert(store), insert(store)
    found = store.untold(limit=9)
    store.delete(gone.id)
    monkeypatch.setattr(store, "untold", lambda limit: found, raising=False)
    look(store, broker, Counter(), OPEN)
    assert broker.of(gone) == [] and broker.of(other) == [1]


# --- the thread, at a real broker -------------------------------------------------------------------------------------


@pytest.fixture
def start(store: LossyStore) -> Iterator[Callable[..., Teller]]:
    with ExitStack() as stack:
        def start(url: str, over: Store = store) -> Teller:
            made = Teller(over, RabbitQueue(url, 1.5).publish_events())
            stack.callback(made.close)
            return made
        yield start


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("TELL_S", 0.05), ("TURN_S", 0.2), ("LAST_PAUSE_S", 0.5)):
        monkeypatch.setattr(teller, name, seconds)


class Listener:
    """Somebody with a durable queue at the exchange."""

    def __init__(self, url: str) -> None:
        self._url = url
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            declare(channel, events_declarations())
            channel.queue_declare("listener", durable=True)
            channel.queue_bind("listener", "mc.events.v1", "task.#")

    def take(self) -> list[tuple[str, str, int]]:
        """What has come since: key, source and number of each."""
        found = []
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            channel = connection.channel()
            while (got := channel.basic_get("listener", auto_ack=True))[0]:
                body = json.loads(got[2])
                found.append((got[0].routing_key, body["source"], int(body["id"])))
        return found


def live(store: Store, task: Task) -> list[str]:
    """Let a task run, stand still, go on and fail by a client's word; the keys of its events."""
    for change in (transitions.claim("w1"), transitions.begin_stage("w1", 1, "fetch", 0.0, 1.0), transitions.pause(),
                   transitions.resume(), transitions.cancel(), transitions.retry()):
        assert store.update(task.id, change)
    return [f"task.{name}" for name in ("created", "claimed", "stage_started", "paused", "resumed", "cancelled",
                                        "retried")]


def test_a_tasks_whole_life_is_told(store: LossyStore, amqp_url: str, start: Callable[..., Teller]) -> None:
    listener = Listener(amqp_url)
    start(amqp_url)
    task = insert(store)
    keys = live(store, task)
    wait_until(lambda: rests(store), SOON_S)
    assert listener.take() == [(key, f"/tasks/{task.id}", seq) for seq, key in enumerate(keys, 1)]


def test_nothing_is_lost_while_the_broker_is_away(store: LossyStore, private_broker: PrivateBroker,
                                                  start: Callable[..., Teller]) -> None:
    listener = Listener(private_broker.url)
    first, second = start(private_broker.url), start(private_broker.url)
    before = insert(store)
    wait_until(lambda: rests(store), SOON_S)
    private_broker.server.kill()
    tasks = [insert(store) for _ in range(5)]
    lives = {f"/tasks/{task.id}": live(store, task) for task in tasks} | {f"/tasks/{before.id}": live(store, before)}
    assert len(store.untold(limit=9)) == 6
    private_broker.start()
    wait_until(lambda: rests(store), SOON_S)
    got = dict.fromkeys(listener.take())  # an event may come twice where a link broke in between
    assert {source: [(key, seq) for key, of, seq in got if of == source] for source in lives} == {
        source: [(key, seq) for seq, key in enumerate(keys, 1)] for source, keys in lives.items()}
    assert all(thread.is_alive() for thread in (first._thread, second._thread))


def test_when_the_one_that_tells_ends_another_one_goes_on(store: LossyStore, amqp_url: str,
                                                          start: Callable[..., Teller]) -> None:
    listener = Listener(amqp_url)
    tellers = [start(amqp_url) for _ in range(3)]
    tasks = []
    for ending in tellers:
        tasks.append(insert(store, 2))
        wait_until(lambda: rests(store), SOON_S)
        ending.close()
    tasks.append(insert(store))
    assert [store.events(task.id) is not None for task in tasks] == [True] * 4 and not rests(store)
    got = listener.take()
    assert [[seq for _, of, seq in got if of == f"/tasks/{task.id}"] for task in tasks] == [[1, 2, 3]] * 3 + [[]]


def test_one_that_cannot_reach_the_store_leaves_its_turn_to_another(store: LossyStore, amqp_url: str,
                                                                    start: Callable[..., Teller]) -> None:
    class Away(LossyStore):
        asked = 0

        def untold(self, *, limit: int) -> list[Task]:
            self.asked += 1
            raise Unavailable("store", "told to")

    listener, away = Listener(amqp_url), Away(store._store)
    start(amqp_url, away)
    wait_until(lambda: away.asked > 1, SOON_S)
    start(amqp_url)
    task = insert(store)
    wait_until(lambda: rests(store), SOON_S)
    assert listener.take() == [("task.created", f"/tasks/{task.id}", 1)]


def test_a_listener_whose_full_queue_refuses_keeps_nothing_from_the_others(store: LossyStore, amqp_url: str,
                                                                          start: Callable[..., Teller]) -> None:
    listener = Listener(amqp_url)
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("full", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        channel.queue_bind("full", "mc.events.v1", "task.created")
        start(amqp_url)
        tasks = [insert(store, 1) for _ in range(3)]
        wait_until(lambda: rests(store), SOON_S)
    got = dict.fromkeys(listener.take())
    assert {source: [seq for _, of, seq in got if of == source] for _, source, _ in got} == {
        f"/tasks/{task.id}": [1, 2] for task in tasks}
