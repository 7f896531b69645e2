"""The limits that the settings name, and what is told of one that is reached."""
from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING

from shared.deps import process_wide
from shared.errors import LimitReached
from shared.limits.callers import EVERYBODY, caller_name
from shared.settings import PREFIX, get_settings
from shared.texts import Text

if TYPE_CHECKING:
    from shared.limits.rates import Rates
    from shared.limits.tallies import Tallies

STREAM_RETRY_S = 5


@process_wide
def get_rates() -> Rates:
    from shared.limits.rates import Rates  # most services have no limits, and a function's cold start counts

    return Rates()


@process_wide
def get_stream_tallies() -> Tallies:
    from shared.limits.tallies import Tallies

    return Tallies()


def share_among_processes() -> None:
    """To be called before a server forks its processes, so that they count together."""
    get_rates()
    get_stream_tallies()


def check_rate() -> None:
    """Count a request.

    Raises:
        LimitReached: the caller, or all together, have sent too many in the last second.
    """
    settings = get_settings()
    for name, setting, most in ((caller_name(), "LIMIT_REQUESTS_PER_S", settings.limit_requests_per_s),
                                (EVERYBODY, "LIMIT_ALL_REQUESTS_PER_S", settings.limit_all_requests_per_s)):
        if most and (wait_s := get_rates().take(name, most)):
            raise reached(setting, Text(f"每秒最多 {most} 个请求", f"at most {most} requests a second"), wait_s)


def enter_stream() -> Callable[[], None]:
    """Count one event stream more of the caller's; what is to be called at its end.

    Raises:
        LimitReached: the caller has too many.
    """
    name, most = caller_name(), get_settings().limit_streams
    if most is None:
        return lambda: None
    if not get_stream_tallies().enter(name, most):
        raise reached("LIMIT_STREAMS", Text(f"最多同时打开 {most} 个事件流", f"at most {most} event streams at once"),
                      STREAM_RETRY_S)
    return lambda: get_stream_tallies().leave(name)


def reached(setting: str, rule: Text, retry_after_s: float) -> LimitReached:
    whole_s = max(1, ceil(retry_after_s))
    return LimitReached(f"超出限额 ({PREFIX}{setting}): {rule.zh}; 请在 {whole_s} 秒后重试",
                        f"a limit is reached ({PREFIX}{setting}): {rule.en}; try again in {whole_s} s", whole_s)
