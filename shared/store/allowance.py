"""The arithmetic of an account that fills up again in time (the generic cell rate algorithm, ITU-T I.371)."""
from __future__ import annotations


def used_until(until: float, share: float, life_s: float, now: float) -> tuple[float, float]:
    """The moment until which the account is used up when `share` of it is spent now, and 0; or that moment as it was,
    and the seconds until there is so much. A full account holds 1 and takes `life_s` to fill up. A negative share gives
    back."""
    after = max(until, now) + share * life_s
    wait_s = after - now - life_s
    if share > 0 and wait_s > 1e-6 * life_s:
        return until, wait_s
    return after, 0.0
