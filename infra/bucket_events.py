"""Lets a MinIO tell of uploads: `python -m infra.bucket_events [amqp] [webhook]`, by the settings of the service.

It makes the rules' buckets, has each of them tell the targets that are named, and declares the queue, so that no event
comes before it is there. MinIO's own environment has to know the targets: see docs/events.md. Without a name the
buckets tell nobody any more. What others have configured in the buckets stays.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterable

import pika
from minio import Minio
from minio.error import MinioException, S3Error
from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig
from pika.exceptions import AMQPError
from urllib3.exceptions import HTTPError

from infra.servers.minio_events import ARNS
from shared.files.minio import OWN_BUCKET
from shared.files.minio_http import S3Connection
from shared.queue.rabbitmq import connection_parameters
from shared.queue.topology import declare, uploads_declarations
from shared.settings import WrongSettings, get_settings
from shared.tls import NO_FILES, Tls, find_tls_fault
from shared.triggers.rule_file import WrongRules, get_rules
from shared.triggers.rules import Rule

EVENTS = ["s3:ObjectCreated:*"]
OURS = "model-convert-"  # begins the ids of our configurations
TIMEOUT_S = 10.0
LOADING_S = 20.0  # MinIO answers some time before it has loaded its targets


class CannotSetUp(Exception):
    """The text says why."""


def main() -> int:
    cli = argparse.ArgumentParser(prog="python -m infra.bucket_events", description="lets MinIO tell of uploads")
    cli.add_argument("ways", nargs="*", metavar="amqp|webhook", help="whom the buckets tell")
    ways = cli.parse_args().ways
    if unknown := set(ways) - ARNS.keys():
        cli.error(f"there is no way called {', '.join(sorted(unknown))}")
    try:
        settings = get_settings()
        buckets = set_up(settings.files_url.get_secret_value(), settings.queue_url.get_secret_value(), ways,
                         get_rules(), settings.tls)
    except (CannotSetUp, WrongSettings, WrongRules) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{', '.join(buckets)}: uploads are told by {' and '.join(ways) or 'nobody; the sweep finds them'}")
    return 0


def set_up(files_url: str, queue_url: str, ways: Iterable[str], rules: Iterable[Rule],
           tls: Tls = NO_FILES) -> list[str]:
    """The buckets that tell from now on.

    Raises:
        CannotSetUp: MinIO or the broker does not answer, or does not know the targets.
    """
    ways = list(ways)
    try:
        if "amqp" in ways:
            with pika.BlockingConnection(connection_parameters(queue_url, TIMEOUT_S, tls)) as connection:
                declare(connection.channel(), uploads_declarations())
    except (AMQPError, OSError, ValueError) as error:
        raise CannotSetUp(f"the broker does not answer, or has another {error!r}") from error
    prefixes: dict[str, set[str]] = defaultdict(set)
    for rule in rules:
        prefixes[rule.bucket].add(rule.prefix)
    connection_to_files = S3Connection(files_url, TIMEOUT_S, tls)
    try:
        for bucket, of_bucket in prefixes.items():
            _subscribe(connection_to_files.small, bucket, sorted(of_bucket), ways)
    except S3Error as error:
        raise CannotSetUp(f"MinIO refuses: {error.code}: {error.message}; docs/events.md has the environment that lets "
                          "it know the targets") from error
    except (MinioException, HTTPError, OSError) as error:
        raise CannotSetUp(f"MinIO does not answer: {find_tls_fault(error) or type(error).__name__}") from error
    finally:
        connection_to_files.close()
    return list(prefixes)


def _subscribe(client: Minio, bucket: str, prefixes: list[str], ways: list[str]) -> None:
    if not client.bucket_exists(bucket):
        try:
            client.make_bucket(bucket)
        except S3Error as error:
            if error.code not in OWN_BUCKET:
                raise
    there = client.get_bucket_notification(bucket)
    kept = [one for one in there.queue_config_list or [] if not (one.config_id or "").startswith(OURS)]
    ours = [QueueConfig(queue=ARNS[way], events=EVENTS, config_id=f"{OURS}{way}-{number}",
                        prefix_filter_rule=PrefixFilterRule(prefix) if prefix else None)
            for way in ways for number, prefix in enumerate(prefixes)]
    deadline = time.monotonic() + LOADING_S
    while True:
        try:
            return client.set_bucket_notification(bucket, NotificationConfig(queue_config_list=kept + ours))
        except S3Error as error:
            if error.code != "InvalidArgument" or time.monotonic() >= deadline:
                raise
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
