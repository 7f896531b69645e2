"""Uploads that object stores tell of over the broker: the same as `functions/on_upload` does over HTTP.

Every worker takes some, and `python -m worker --intake` nothing else: that one needs no toolchain.
"""
from __future__ import annotations

import logging
import signal
import threading
import time

from shared.deadlines import ending_at
from shared.deps import close_all, get_queue
from shared.errors import InvalidRequest
from shared.settings import get_settings
from shared.triggers.arrivals import take_all
from shared.triggers.events import Arrived, read_events
from shared.validation_messages import printable

logger = logging.getLogger(__name__)


def take_event(body: bytes) -> None:
    """Take the objects that an event names. What cannot be read is told in the log, and is done with.

    Raises:
        Unavailable, Busy: store or files did not answer; the event is to come again.
    """
    settings = get_settings()
    if len(body) > settings.max_body_bytes:
        logger.warning("an event of an upload is too large: %d bytes", len(body))
        return
    try:
        records = read_events(body)
    except InvalidRequest as error:
        logger.warning("an event of an upload is ignored: %s; it begins with %s", error,
                       printable(body[:80].decode("latin-1"), 80))
        return
    with ending_at(time.monotonic() + settings.request_s):
        take_all(record for record in records if isinstance(record, Arrived))


def run_intake() -> int:
    """Take events until SIGTERM; the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    intake = get_queue().receive_uploads(take_event)
    if intake is None:
        logger.error("there is no broker that object stores could publish to: MODEL_CONVERT_QUEUE_URL should be amqp://")
        return 1
    logger.info("ready", extra={"intake": True})
    stop.wait()
    intake.close()
    close_all()
    logger.info("stopped")
    return 0
