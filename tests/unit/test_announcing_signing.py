"""Signatures are those of Standard Webhooks: its public library verifies them, as receivers would use it."""
from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared.announcements.signing import read_secrets, signed_headers
from shared.settings import Settings, read_settings

OLD, NEW, OTHER = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"o", b"n", b"x"))
BODY = '{"type":"task.completed","data":{"labels":{"行":"检测 🙂"}}}'.encode()


def settings(*secrets: str) -> Settings:
    return read_settings({"MODEL_CONVERT_CALLBACK_SECRET": ",".join(secrets)})


def test_the_public_library_verifies_a_signature() -> None:
    headers = signed_headers("msg_1_2", BODY, settings(NEW))
    assert Webhook(NEW).verify(BODY, headers)["type"] == "task.completed"


@pytest.mark.parametrize("known", [OLD, NEW])
def test_while_a_secret_is_replaced_receivers_may_know_either(known: str) -> None:
    headers = signed_headers("msg_1_2", BODY, settings(NEW, f" {OLD}"))
    assert Webhook(known).verify(BODY, headers)
    assert headers["webhook-signature"].count("v1,") == 2


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_the_signature_holds_the_id_and_the_time(name: str) -> None:
    headers = signed_headers("msg_1_2", BODY, settings(NEW))
    change = {name: {"webhook-id": "msg_1_3", "webhook-timestamp": str(int(time.time()) - 60)}[name]}
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(NEW).verify(BODY, headers | change)


def test_the_signature_holds_the_body_and_the_secret() -> None:
    headers = signed_headers("msg_1_2", BODY, settings(NEW))
    for secret, body in ((OTHER, BODY), (NEW, BODY.replace(b"completed", b"failed"))):
        with pytest.raises(WebhookVerificationError, match="No matching signature"):
            Webhook(secret).verify(body, headers)


def test_each_attempt_has_a_time_of_its_own_and_the_id_of_all() -> None:
    first, second = (signed_headers("msg_1_2", BODY, settings(NEW), now=now) for now in (1700000000.9, 1700000005.0))
    assert [headers["webhook-timestamp"] for headers in (first, second)] == ["1700000000", "1700000005"]
    assert first["webhook-id"] == second["webhook-id"] == "msg_1_2"
    assert first["webhook-signature"] != second["webhook-signature"]


def test_without_a_secret_nothing_is_signed() -> None:
    with pytest.raises(ValueError, match="no secret"):
        signed_headers("msg_1_2", BODY, read_settings({}))


@pytest.mark.parametrize("size", [24, 64])
def test_secrets_of_every_length_that_the_specification_has_are_taken(size: int) -> None:
    assert read_secrets(f"whsec_{base64.b64encode(b'k' * size).decode()}") == (b"k" * size,)


@pytest.mark.parametrize("text", [
    " ", ",", OLD.removeprefix("whsec_"), OLD.upper(), "whsec_", "whsec_c2hvcnQ=", f"{OLD}!", OLD.rstrip("="),
    f"whsec_{base64.b64encode(b'k' * 23).decode()}", f"whsec_{base64.b64encode(b'k' * 65).decode()}", f"{OLD},",
    f"{OLD},x", f"{OLD}:{NEW}", f"{OLD} {NEW}"])
def test_a_malformed_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="should be whsec_ and the base64 of 24 to 64 random bytes") as caught:
        read_secrets(text)
    assert OLD.removeprefix("whsec_")[:8] not in str(caught.value)
