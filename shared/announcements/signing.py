"""Signs what is sent to a `callback_url`, by the rules of Standard Webhooks.

Source: "Standard Webhooks", specification 1.0.0, sections "Signature scheme" and "Webhook Headers".
"""
from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time

from shared.settings import Settings

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64  # of a secret, as the specification has it
RIGHT = (f"should be {PREFIX} and the base64 of {LEAST_BYTES} to {MOST_BYTES} random bytes; "
         "of several, separated by commas, each signs")


def read_secrets(text: str) -> tuple[bytes, ...]:
    """The secrets, each of which signs: while one is replaced, receivers may know the old or the new one.

    Raises:
        ValueError: one of them is malformed. The text tells nothing of it.
    """
    return tuple(_read_secret(part.strip()) for part in text.split(",")) if text else ()


def _read_secret(text: str) -> bytes:
    if not text.startswith(PREFIX):
        raise ValueError(RIGHT)
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(RIGHT) from None
    if not LEAST_BYTES <= len(secret) <= MOST_BYTES:
        raise ValueError(RIGHT)
    return secret


def signed_headers(message_id: str, body: bytes, settings: Settings, *, now: float | None = None) -> dict[str, str]:
    """The headers of one attempt. The id is that of all attempts; the time is this one's, in whole seconds, so that a
    receiver may refuse what somebody else sends once more much later.

    Raises:
        ValueError: there is no secret.
    """
    secrets = read_secrets(settings.callback_secret.get_secret_value())
    if not secrets:
        raise ValueError("there is no secret to sign with")
    timestamp = str(int(time.time() if now is None else now))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return {"webhook-id": message_id, "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets)}


def _signature(secret: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
