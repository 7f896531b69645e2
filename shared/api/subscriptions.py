"""A topic asks whether it may send here; the answer is a GET of the URL that it names.

Whoever can POST an event could name any URL, of an inner machine for example. So only the makers' own hosts are called.
"""
from __future__ import annotations

import logging
import re
from urllib.parse import urlsplit

from shared.errors import Unavailable
from shared.settings import get_settings
from shared.texts import Text
from shared.triggers.events import Subscription

logger = logging.getLogger(__name__)

# Amazon's SNS (also in China) and the SMN that OBS sends through. Nobody else can have a name below these domains.
HOSTS = re.compile(r"sns\.[a-z0-9-]{2,32}\.amazonaws\.com(\.cn)?|smn\.[a-z0-9-]{2,32}\.myhuaweicloud\.(com|eu)")
READ_BYTES = 4096  # of the answer, so that the connection ends properly

REFUSED = Text("订阅确认地址不属于 AWS SNS 或 OBS 的 SMN, 未访问",
               "the subscription's URL is neither AWS SNS's nor OBS's SMN's: it is not called")


def is_makers_own(url: str) -> bool:
    """https, a host of the makers' own, its usual port, and nothing that could be read in two ways."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > 2048:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return (parts.scheme == "https" and "@" not in parts.netloc and port in (None, 443)
            and HOSTS.fullmatch(parts.hostname or "") is not None)


def confirm(subscription: Subscription) -> Text | None:
    """Say yes, or why not.

    Raises:
        Unavailable: the maker's host does not answer; its topic asks again.
    """
    if not is_makers_own(subscription.url):
        logger.warning("a subscription is not confirmed: its URL is not the maker's own")
        return REFUSED
    import urllib3  # seldom needed, and long to load
    from urllib3.exceptions import HTTPError

    timeout = get_settings().dependency_timeout_s
    try:
        with urllib3.PoolManager(retries=False) as pool:
            answer = pool.request("GET", subscription.url, redirect=False, preload_content=False,
                                  timeout=urllib3.Timeout(total=2 * timeout))
            answer.read(READ_BYTES)
            answer.close()
    except HTTPError as error:
        raise Unavailable("sns", type(error).__name__) from error
    if answer.status >= 500:
        raise Unavailable("sns", str(answer.status))
    if answer.status != 200:
        return Text(f"订阅确认被拒绝: HTTP {answer.status}", f"the confirmation was refused: HTTP {answer.status}")
    logger.info("a subscription is confirmed", extra={"topic": subscription.topic})
    return None
