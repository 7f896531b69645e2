"""JWTs of a provider that the test runs: which are let in, as whom, and what is asked of the provider."""
from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.access import tokens
from shared.access.tokens import admit_token
from shared.deps import close_all
from shared.errors import Unauthorized, Unavailable
from shared.settings import WrongSettings, get_settings
from tests.functions.service import function_client

ISSUER, AUDIENCE = "https://id.example.com/realm", "model-convert"
RSA_KEY, STRANGERS_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
RIGHT = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ci", "tenant": "acme", "scope": "read write openid"}


class Provider:
    """An identity provider: its key pairs by their ids, and how often its keys were asked for."""

    def __init__(self) -> None:
        self.rsa = RSA_KEY
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.published: dict[str, Any] = {"r": self.rsa, "e": self.ec}
        self.asked, self.status, self.body = 0, 200, b""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                self.send_response(provider.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(provider.body or provider.keys())

            def log_message(self, *_: object) -> None:
                """Nothing to tell."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def keys(self) -> bytes:
        listed = []
        for key_id, key in self.published.items():
            kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
            listed.append(json.loads(kind.to_jwk(key.public_key())) | {"kid": key_id, "use": "sig"})
        return json.dumps({"keys": listed}).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sign(self, key: Any = None, algorithm: str = "RS256", key_id: str | None = "r", **claims: Any) -> str:
        told = {"exp": time.time() + 600} | RIGHT | claims
        told = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(told, self.rsa if key is None else key, algorithm, headers={"kid": key_id} if key_id else {})


def sign_with_text(secret: bytes, key_id: str) -> str:
    """HS256 with any secret: the library refuses to sign with a public key."""
    def encode(part: bytes) -> bytes:
        return base64.urlsafe_b64encode(part).rstrip(b"=")

    head = {"alg": "HS256", "typ": "JWT", "kid": key_id}
    signed = b".".join(encode(json.dumps(part).encode()) for part in (head, RIGHT | {"exp": time.time() + 600}))
    return b".".join((signed, encode(hmac.digest(secret, signed, "sha256")))).decode()


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def use(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def use(**settings: str) -> None:
        told = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys_url": provider.url,
                "dependency_timeout_s": "15"} | settings
        for name, value in told.items():
            monkeypatch.setenv(f"MODEL_CONVERT_{name.upper()}", value)
        close_all()

    use()
    yield use
    monkeypatch.undo()
    close_all()


def test_a_token_names_tenant_and_scopes(provider: Provider, use: Callable[..., None]) -> None:
    caller = admit_token(provider.sign())
    assert (caller.name, caller.tenant, caller.scopes, caller.prefixes) == ("ci", "acme", {"read", "write"}, ())
    assert caller.ends_at == pytest.approx(time.time() + 630, abs=60)
    assert admit_token(provider.sign(provider.ec, "ES256", "e", aud=["x", AUDIENCE])).tenant == "acme"


def test_settings_say_which_claims_count(provider: Provider, use: Callable[..., None]) -> None:
    use(jwt_tenant_claim="org", jwt_scopes_claim="roles", jwt_scope_prefix="convert:", jwt_prefixes_claim="buckets")
    caller = admit_token(provider.sign(org="other", roles=["convert:read", "write", "convert:admin", 7],
                                       buckets=["models/other/", "models", "a/../b/", "*"]))
    assert (caller.tenant, caller.scopes, caller.prefixes) == ("other", {"read", "admin"}, ("models/other/", "*"))


@pytest.mark.parametrize(("claims", "says"), [
    ({"iss": "https://id.example.com"}, "issuer"), ({"iss": None}, "issuer"), ({"aud": "other"}, "audience"),
    ({"aud": None}, "audience"), ({"exp": None}, "audience"), ({"exp": 1.0}, "over"), ({"nbf": 4e9}, "issuer"),
    ({"exp": "soon"}, "token"), ({"tenant": None}, "tenant"), ({"tenant": "../x"}, "tenant"),
    ({"tenant": ["acme"]}, "tenant"), ({"tenant": "Acme"}, "tenant")])
def test_a_token_with_wrong_claims_is_refused(provider: Provider, use: Callable[..., None], claims: dict[str, Any],
                                              says: str) -> None:
    if isinstance(claims.get("exp"), str):
        text = jwt.api_jws.encode(json.dumps(RIGHT | claims).encode(), provider.rsa, "RS256", headers={"kid": "r"})
    else:
        text = provider.sign(**claims)
    with pytest.raises(Unauthorized, match=says):
        admit_token(text)


def test_nobody_else_can_sign(provider: Provider, use: Callable[..., None]) -> None:
    stranger = STRANGERS_KEY
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public, public_pem = (provider.rsa.public_key().public_bytes(encoding, form)
                          for encoding in (serialization.Encoding.DER, serialization.Encoding.PEM))
    right = provider.sign()
    head, body, signature = right.split(".")
    forged = [provider.sign(stranger), provider.sign(stranger, key_id="unknown"), sign_with_text(public, "r"),
              provider.sign("", "none"), sign_with_text(public_pem, "r"), provider.sign(provider.ec, "ES256", "r"),
              f"{head}.{body}.",
              f"{head}.{body}.{signature[:-8]}{'A' * 8}", provider.sign(provider.rsa, "RS512"), "a.b.c", "..", "",
              right + "x" * 9000, provider.sign(key_id=None)]
    for text in forged:
        with pytest.raises(Unauthorized):
            admit_token(text)
    assert admit_token(right).tenant == "acme"


def test_a_token_without_a_key_id_is_taken_where_there_is_one_key(provider: Provider, use: Callable[..., None]) -> None:
    del provider.published["e"]
    assert admit_token(provider.sign(key_id=None)).tenant == "acme"


def test_the_providers_keys_are_kept_and_fetched_anew_for_an_unknown_one(
        provider: Provider, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        admit_token(provider.sign())
    assert provider.asked == 1
    new = provider.published["new"] = ec.generate_private_key(ec.SECP256R1())
    text = provider.sign(new, "ES256", "new")
    with pytest.raises(Unauthorized):  # within the pause, so that strangers cannot make us ask again and again
        admit_token(text)
    assert provider.asked == 1
    monkeypatch.setattr(tokens, "PAUSE_S", 0.0)
    assert admit_token(text).tenant == "acme" and provider.asked == 2


def test_a_provider_that_is_away_is_not_missed_for_a_while(provider: Provider, use: Callable[..., None],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    text = provider.sign()
    admit_token(text)
    provider.status = 500
    for name in ("KEEP_S", "PAUSE_S"):
        monkeypatch.setattr(tokens, name, 0.0)
    assert admit_token(text).tenant == "acme" and provider.asked == 2
    monkeypatch.setattr(tokens, "STALE_S", 0.0)
    with pytest.raises(Unavailable, match="identity provider"):
        admit_token(text)


@pytest.mark.parametrize(("status", "body"), [(302, b""), (200, b"no json"), (200, b"[]"), (200, b'{"a": 1}'),
                                              (200, b"[" * 100_000), (200, b" " * (2 << 20)), (404, b"")])
def test_an_answer_that_is_no_set_of_keys_lets_nobody_in(provider: Provider, use: Callable[..., None], status: int,
                                                         body: bytes) -> None:
    provider.status, provider.body = status, body
    with pytest.raises(Unavailable, match="identity provider"):
        admit_token(provider.sign())
    assert provider.asked == 1  # no redirection is followed


def test_keys_that_cannot_be_used_are_passed_over(provider: Provider, use: Callable[..., None]) -> None:
    listed = json.loads(provider.keys())["keys"]
    odd = [7, {}, {"kty": "oct", "k": "c2VjcmV0", "kid": "h"}, {"kty": "RSA", "kid": "x", "n": "!", "e": "AQAB"},
           {**listed[0], "kid": "enc", "use": "enc"}]
    provider.body = json.dumps({"keys": [*odd, *listed]}).encode()
    assert admit_token(provider.sign()).tenant == "acme"
    for text in (sign_with_text(b"secret", "h"), provider.sign(key_id="enc")):
        with pytest.raises(Unauthorized):
            admit_token(text)


@pytest.mark.parametrize(("settings", "says"), [
    ({"jwt_audience": ""}, "JWT_AUDIENCE"), ({"jwt_keys_url": ""}, "JWT_KEYS_URL"),
    ({"jwt_algorithms": "HS256"}, "JWT_ALGORITHMS"), ({"jwt_algorithms": "none"}, "JWT_ALGORITHMS"),
    ({"jwt_keys_url": "http://id.example.com/keys"}, "JWT_KEYS_URL"),
    ({"jwt_keys_url": "file:///etc/passwd"}, "JWT_KEYS_URL")])
def test_settings_that_would_let_strangers_in_are_refused(use: Callable[..., None], settings: dict[str, str], says: str
                                                          ) -> None:
    use(**settings)
    with pytest.raises(WrongSettings, match=says):
        get_settings()


def test_a_request_is_let_in_by_a_token(provider: Provider, use: Callable[..., None], tmp_path: Path) -> None:
    use(auth="keys", store_url=f"sqlite:{tmp_path / 'tasks.db'}")
    client = function_client("list_tasks")

    def ask(text: str) -> int:
        return client.post("/tasks/list", json={}, headers={"Authorization": f"Bearer {text}"}).status_code

    assert ask(provider.sign()) == 200
    assert ask(provider.sign(scope="write")) == 403
    assert ask(provider.sign(aud="other")) == ask(provider.sign(STRANGERS_KEY)) == ask("nothing") == 401
    provider.status = 500
    close_all()
    assert ask(provider.sign()) == 503
