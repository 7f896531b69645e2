"""How many bytes may be uploaded: counted in the store when room is made for them, whether they come or not."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from shared.deps import get_store
from shared.errors import AppError, PayloadTooLarge, Unavailable
from shared.limits.callers import EVERYBODY, caller_name
from shared.limits.checks import reached
from shared.settings import PREFIX, get_settings
from shared.texts import Text

DAY_S = 86400.0

logger = logging.getLogger(__name__)


@contextmanager
def upload_of(size_bytes: int) -> Iterator[None]:
    """Inside, room is made for an upload of this size. Where that is refused, the upload does not count.

    Raises:
        LimitReached: the caller, or all together, have made room for too much in the last day.
        PayloadTooLarge: it is more than may come in a whole day.
    """
    settings = get_settings()
    with ExitStack() as stack:
        for name, setting, most in (
                (caller_name(), "LIMIT_UPLOAD_BYTES_PER_DAY", settings.limit_upload_bytes_per_day),
                (EVERYBODY, "LIMIT_ALL_UPLOAD_BYTES_PER_DAY", settings.limit_all_upload_bytes_per_day)):
            if most and size_bytes:
                stack.enter_context(_counted(name, setting, most, size_bytes))
        yield


@contextmanager
def _counted(name: str, setting: str, most: int, size_bytes: int) -> Iterator[None]:
    if size_bytes > most:
        raise PayloadTooLarge(f"上传过大 ({PREFIX}{setting}): 每天最多 {most} 字节, 此上传为 {size_bytes} 字节",
                              f"the upload is too large ({PREFIX}{setting}): {size_bytes} bytes, and at most {most} "
                              "may come in a day")
    account, share = f"uploads/{name}", size_bytes / most
    if wait_s := get_store().spend(account, share, DAY_S):
        raise reached(setting, Text(f"每天最多上传 {most} 字节", f"at most {most} bytes of uploads a day"), wait_s)
    try:
        yield
    except AppError:
        try:
            get_store().spend(account, -share, DAY_S)
        except Unavailable as error:
            logger.warning("%s bytes that were not uploaded count: %s", size_bytes, error)
        raise
