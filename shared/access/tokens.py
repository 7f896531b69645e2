"""Tokens of an identity provider (OpenID Connect) as the other way in: JWTs, whose claims name tenant and scopes.

The provider's keys are fetched from `jwt_keys_url` and kept: for `KEEP_S`, and while the provider is away for `STALE_S`
at most. A token that names an unknown key makes them be fetched anew, once in `PAUSE_S`. Only algorithms of key pairs
are taken, so that nobody can sign with what the provider publishes.
"""
from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from shared.access import Caller, reasons
from shared.access.documents import SCOPES
from shared.access.places import EVERYWHERE, TENANT
from shared.deps import process_wide
from shared.errors import AppError, Unauthorized, Unavailable
from shared.files.paths import check_prefix
from shared.rules.bilingual import Bilingual
from shared.settings import Settings, get_settings
from shared.validation_messages import printable

if TYPE_CHECKING:
    import jwt

KEEP_S = 300.0
STALE_S = 3600.0
PAUSE_S = 30.0
LEEWAY_S = 30.0  # between the provider's clock and ours
MAX_KEYS_BYTES = 1 << 20
MAX_TOKEN_CHARS = 8192

logger = logging.getLogger(__name__)


class ProviderKeys:
    """The provider's public keys. Thread-safe; one thread fetches at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: list[jwt.PyJWK] = []
        self._read_at = self._tried_at = float("-inf")

    def find(self, key_id: str | None, settings: Settings) -> jwt.PyJWK | None:
        """The key with this id. Without an id the only one.

        Raises:
            Unavailable: the provider does not answer, and what is known of it is too old.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._read_at > KEEP_S or (self._pick(key_id) is None and now - self._tried_at > PAUSE_S):
                self._renew(settings, now)
            return self._pick(key_id)

    def close(self) -> None:
        """Nothing is open."""

    def _pick(self, key_id: str | None) -> jwt.PyJWK | None:
        found = [key for key in self._keys if key_id is None or key.key_id == key_id]
        return found[0] if len(found) == 1 else None

    def _renew(self, settings: Settings, now: float) -> None:
        if now - self._tried_at > PAUSE_S or not self._keys:
            self._tried_at = now
            try:
                self._keys, self._read_at = fetch_keys(settings.jwt_keys_url, settings.dependency_timeout_s), now
                return
            except Unavailable as error:
                logger.warning("%s", error)
        if now - self._read_at > STALE_S:
            raise Unavailable("identity provider")


get_provider_keys = process_wide(ProviderKeys)


def fetch_keys(url: str, timeout_s: float) -> list[jwt.PyJWK]:
    """Those of the set at this URL that sign and are of a kind that is known here.

    Raises:
        Unavailable: there is no answer in time, or none that is a set of keys.
    """
    import json

    import jwt
    import urllib3

    try:
        with urllib3.PoolManager(retries=False, timeout=timeout_s) as pool:
            answer = pool.request("GET", url, redirect=False, preload_content=False)
            content = answer.read(MAX_KEYS_BYTES + 1)
            answer.close()
        if answer.status != 200 or len(content) > MAX_KEYS_BYTES:
            raise Unavailable("identity provider", f"HTTP {answer.status}, {len(content)} bytes")
        listed = json.loads(content)["keys"]
    except (urllib3.exceptions.HTTPError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise Unavailable("identity provider", type(error).__name__) from error
    keys = []
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        try:
            keys.append(jwt.PyJWK.from_dict(one))
        except (jwt.PyJWTError, ValueError, TypeError):
            logger.warning("a key of the identity provider cannot be read")
    return keys


def admit_token(text: str) -> Caller:
    """Whom the token names.

    Raises:
        Unauthorized: it is no token of the provider for this service, its time is over, or its claims name no tenant.
        Unavailable: the provider's keys cannot be had.
    """
    import jwt

    settings = get_settings()
    if len(text) > MAX_TOKEN_CHARS:
        raise _refused(reasons.TOKEN_FORM)
    try:
        key_id = jwt.get_unverified_header(text).get("kid")
        key = get_provider_keys().find(key_id, settings)
        if key is None:
            raise _refused(reasons.TOKEN_SIGNER)
        claims = jwt.decode(text, key.key, algorithms=list(settings.jwt_algorithms), audience=settings.jwt_audience,
                            issuer=settings.jwt_issuer, leeway=LEEWAY_S, options={"require": ["exp", "iss", "aud"]})
    except jwt.ExpiredSignatureError as error:
        raise _refused(reasons.TOKEN_OVER) from error
    except (jwt.InvalidAudienceError, jwt.InvalidIssuerError, jwt.MissingRequiredClaimError,
            jwt.ImmatureSignatureError, jwt.InvalidIssuedAtError) as error:
        raise _refused(reasons.TOKEN_CLAIMS) from error
    except jwt.DecodeError as error:
        raise _refused(reasons.TOKEN_SIGNER if isinstance(error, jwt.InvalidSignatureError) else
                       reasons.TOKEN_FORM) from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:  # another algorithm; a key of another kind
        raise _refused(reasons.TOKEN_SIGNER) from error
    return caller_of(claims, settings)


def caller_of(claims: dict[str, Any], settings: Settings) -> Caller:
    """Raises Unauthorized: they name no tenant."""
    tenant = claims.get(settings.jwt_tenant_claim)
    if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
        raise _refused(reasons.TOKEN_TENANT)
    given = {text.removeprefix(settings.jwt_scope_prefix) for text in _texts(claims.get(settings.jwt_scopes_claim))
             if text.startswith(settings.jwt_scope_prefix)}
    prefixes = _texts(claims.get(settings.jwt_prefixes_claim)) if settings.jwt_prefixes_claim else []
    return Caller(printable(str(claims.get("sub", "")), 63) or tenant, tenant,
                  frozenset(scope for scope in SCOPES if scope in given),
                  tuple(prefix for prefix in prefixes if _is_prefix(prefix)), ends_at=float(claims["exp"]) + LEEWAY_S)


def _texts(value: Any) -> list[str]:
    """A claim with several texts is a list, or one text with spaces (RFC 8693, 4.2)."""
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _is_prefix(text: str) -> bool:
    try:
        return text == EVERYWHERE or bool(check_prefix(text))
    except AppError:
        return False


def _refused(why: Bilingual) -> Unauthorized:
    return Unauthorized(why.zh, why.en, "invalid_token")
