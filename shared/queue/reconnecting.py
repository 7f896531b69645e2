"""Keeps a consumer of the broker alive, whatever happens to its connection."""
from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from pika.exceptions import AMQPError

logger = logging.getLogger(__name__)

FIRST_DELAY_S, LAST_DELAY_S = 0.1, 5.0


def keep_consuming(consume: Callable[[], None], closed: threading.Event) -> None:
    """Call `consume`, which returns or raises when its connection has ended, until `closed` is set; the pauses grow."""
    delay_s = FIRST_DELAY_S
    while not closed.is_set():
        started = time.monotonic()
        try:
            consume()
        except (AMQPError, OSError) as error:
            logger.warning("the link to the broker is down: %r", error)
        except Exception:
            # Whatever it was, a worker must not go deaf: it would look alive and never run a task again.
            logger.exception("the link to the broker failed")
        if time.monotonic() - started > LAST_DELAY_S:
            delay_s = FIRST_DELAY_S
        closed.wait(delay_s * random.uniform(0.5, 1.0))
        delay_s = min(2 * delay_s, LAST_DELAY_S)
