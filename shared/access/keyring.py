"""Which keys are good: looked up in the store, and remembered for seconds.

So a key costs no round trip for each request, and one that is revoked is refused by every process `TRUST_S` seconds
later at the latest.
"""
from __future__ import annotations

import hmac
import logging
import threading
import time
from collections import OrderedDict

from shared.access import Caller, reasons
from shared.access.documents import Key
from shared.access.key_text import digest_of, is_key_text
from shared.deps import get_store, process_wide
from shared.errors import Unauthorized, Unavailable
from shared.rules.bilingual import Bilingual

TRUST_S = 5.0
KEPT = 1000  # keys and unknown digests of one process
NOTE_USE_S = 60.0

logger = logging.getLogger(__name__)


class KeyRing:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[Key | None, float]] = OrderedDict()  # by digest, with when it was read
        self._noted: dict[str, float] = {}  # by id: when its last use was written

    def admit(self, text: str) -> Caller:
        """Who owns the key.

        Raises:
            Unauthorized: it is no key, not known, revoked or expired.
            Unavailable: the store does not answer.
        """
        if not is_key_text(text):
            raise _refused(reasons.MALFORMED)
        digest = digest_of(text)
        key = self._look_up(digest)
        if key is None or not hmac.compare_digest(key.digest, digest):
            raise _refused(reasons.UNKNOWN)
        if ended := key.why_ended(time.time()):
            error = _refused(reasons.REVOKED if ended == "revoked" else reasons.EXPIRED)
            error.key_id = key.id
            raise error
        self._note_use(key)
        return Caller(key.name, key.tenant, frozenset(key.scopes), tuple(key.prefixes), key.id, digest, key.expires_at)

    def is_good_still(self, caller: Caller) -> bool:
        """Whether the key with which the caller was let in is good now.

        Raises:
            Unavailable: the store does not answer.
        """
        if not caller.proof:
            return caller.ends_at is None or caller.ends_at > time.time()
        key = self._look_up(caller.proof)
        return key is not None and key.why_ended(time.time()) is None

    def close(self) -> None:
        """Nothing is open."""

    def _look_up(self, digest: str) -> Key | None:
        now = time.monotonic()
        with self._lock:
            key, read_at = self._known.get(digest, (None, float("-inf")))
        if read_at + TRUST_S > now:
            return key
        key = get_store().find_key(digest)
        with self._lock:
            self._known[digest] = key, now
            self._known.move_to_end(digest)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return key

    def _note_use(self, key: Key) -> None:
        """Best effort: a request does not fail for it."""
        now = time.monotonic()
        with self._lock:
            if now - self._noted.get(key.id, float("-inf")) < NOTE_USE_S:
                return
            if len(self._noted) > KEPT:
                self._noted.clear()
            self._noted[key.id] = now
        try:
            get_store().note_key_use(key.id, time.time(), NOTE_USE_S)
        except Unavailable as error:
            logger.warning("the last use of %s is not written: %s", key.id, error)


get_keyring = process_wide(KeyRing)


def _refused(why: Bilingual) -> Unauthorized:
    return Unauthorized(why.zh, why.en, "invalid_token")
