"""When an announcement is tried: the schedule of the Standard Webhooks specification, about 75 hours in all."""
from __future__ import annotations

import random

PAUSES_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
ATTEMPTS = len(PAUSES_S) + 1  # the first one at once
MOST_S = PAUSES_S[-1]  # what a receiver may ask for by Retry-After
JITTER = 0.1  # of a pause, both ways, so that what failed together does not come back together


def pause_s(attempts: int, scale: float, retry_after_s: float | None = None) -> float:
    """Seconds before the next attempt, after so many (1 to `ATTEMPTS` - 1)."""
    pause = PAUSES_S[attempts - 1] * scale * random.uniform(1 - JITTER, 1 + JITTER)
    return max(pause, min(retry_after_s or 0.0, MOST_S))
