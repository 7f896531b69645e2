"""`python -m infra.bucket_events`: buckets tell of uploads, and what others have configured there stays."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio
from minio.notificationconfig import NotificationConfig, QueueConfig

from infra import bucket_events
from infra.bucket_events import CannotSetUp, set_up
from infra.servers import minio
from infra.servers.base import CannotStart, Server
from infra.servers.minio_events import ARNS, amqp_environment, webhook_environment
from shared.files.minio_http import S3Connection
from shared.triggers.rules import Rule, built_in
from tests.fixtures.common import missing

OTHER = "arn:minio:sqs::OTHER:webhook"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A MinIO that knows both of our targets, neither of which is there, and one of somebody else."""
    folder = tmp_path_factory.mktemp("minio")
    nobody = "http://127.0.0.1:9/"
    environment = (amqp_environment("amqp://a:b@127.0.0.1:9/") | webhook_environment(nobody, "t", folder / "ours")
                   | {"MINIO_NOTIFY_WEBHOOK_ENABLE_OTHER": "on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_OTHER": nobody,
                      "MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_OTHER": str(folder / "theirs")})
    try:
        server = minio.start(folder / "data", environment=environment)
    except CannotStart as why:
        missing("MinIO", why)
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Minio:
    return S3Connection(server.url, 20.0).small


def configured(client: Minio, bucket: str) -> set[tuple[str, str]]:
    """Whom the bucket tells, and of which keys."""
    return {(one.queue, one.prefix_filter_rule.value if one.prefix_filter_rule else "")
            for one in client.get_bucket_notification(bucket).queue_config_list or []}


def test_buckets_tell_the_ways_that_are_named_and_others_stay(server: Server, client: Minio, amqp_url: str) -> None:
    rules = [built_in(), Rule(name="a", bucket="depot", prefix="in/a/", target="intel"),
             Rule(name="b", bucket="depot", prefix="in/b/", target="intel")]
    assert set_up(server.url, amqp_url, ["webhook", "amqp"], rules) == ["models-in", "depot"]
    assert configured(client, "models-in") == {(ARNS["webhook"], ""), (ARNS["amqp"], "")}
    assert configured(client, "depot") == {(arn, f"in/{name}/") for arn in ARNS.values() for name in "ab"}
    there = client.get_bucket_notification("depot").queue_config_list
    client.set_bucket_notification("depot", NotificationConfig(
        queue_config_list=[*there, QueueConfig(queue=OTHER, events=["s3:ObjectRemoved:*"], config_id="theirs")]))
    set_up(server.url, "poll:", ["webhook"], rules[:2])
    assert configured(client, "depot") == {(ARNS["webhook"], "in/a/"), (OTHER, "")}
    set_up(server.url, "poll:", [], rules)
    assert configured(client, "depot") == {(OTHER, "")} and configured(client, "models-in") == set()


def test_a_minio_that_does_not_know_the_targets_says_what_to_do(minio_url: str, bucket: str,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_events, "LOADING_S", 0.5)
    with pytest.raises(CannotSetUp, match=r"docs/events\.md"):
        set_up(minio_url, "poll:", ["webhook"], [Rule(name="a", bucket=bucket, target="intel")])


def test_servers_that_do_not_answer_are_named(amqp_url: str, server: Server, tmp_path: Path) -> None:
    with pytest.raises(CannotSetUp, match="the broker"):
        set_up(server.url, "amqp://a:b@127.0.0.1:9/", ["amqp"], [built_in()])
    with pytest.raises(CannotSetUp, match="MinIO"):
        set_up("minio://k:s@127.0.0.1:9", amqp_url, ["amqp"], [built_in()])
