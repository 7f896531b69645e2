"""Whether a request has to show a key, and whose it is.

`MODEL_CONVERT_AUTH` decides: `keys` asks for a key always, `open` never. Without it a key is needed unless the server
listens on loopback alone. That is known in two ways:

- The gateway tells where it listens (`IS_LOCAL` in the request's environment).
- gunicorn and werkzeug, which functions-framework runs on, name their listener in SERVER_NAME. Only these two are
  believed: others take that name from the client's Host.

Whatever else calls a function, such as a console, is elsewhere. So is a request that a proxy has passed on: behind it
may be anybody.
"""
from __future__ import annotations

import logging

import flask

from shared.access import NOBODY, Caller, Scope
from shared.errors import AppError, Forbidden, Unauthorized
from shared.settings import get_settings
from shared.validation_messages import printable

IS_LOCAL = "model_convert.is_local"
_NAME_THEIR_LISTENER = ("gunicorn/", "Werkzeug/")
_PASSED_ON = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_VIA")

audit = logging.getLogger("audit")


def needs_key(request: flask.Request) -> bool:
    """Whether this request has to show a key, if its endpoint asks for one."""
    auth = get_settings().auth
    return auth == "keys" or (auth is None and not _is_local(request))


def _is_local(request: flask.Request) -> bool:
    environ = request.environ
    if any(name in environ for name in _PASSED_ON):
        return False
    told = environ.get(IS_LOCAL)
    if told is not None:
        return bool(told)
    from shared.access.loopback import is_loopback  # the gateway has told

    return (str(environ.get("SERVER_SOFTWARE", "")).startswith(_NAME_THEIR_LISTENER)
            and is_loopback(environ.get("SERVER_NAME", "")) and is_loopback(environ.get("REMOTE_ADDR", "")))


def authorize(request: flask.Request, scope: Scope | None, *, optional: bool) -> Caller | None:
    """The owner of the key that the request shows. None where no key is asked for: `scope` is None, or the service is
    open. `optional`: the key need not have the scope, and where none is shown, that is `NOBODY`.

    Raises:
        Unauthorized: the key is missing or not good.
        Forbidden: the key lacks the scope.
        Unavailable: the store does not answer.
    """
    if scope is None or not needs_key(request):
        return None
    if optional and "Authorization" not in request.headers:
        return NOBODY
    caller = None
    try:
        caller = _identify(request)
        if scope not in caller.scopes and not optional:
            raise _lacks(scope)
    except (Unauthorized, Forbidden) as error:
        _tell(request, error, caller)
        raise
    return caller


def _identify(request: flask.Request) -> Caller:
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    text = text.strip()
    if kind.lower() != "bearer" or not text:
        from shared.access import reasons

        raise Unauthorized(reasons.MISSING.zh, reasons.MISSING.en)
    from shared.access.key_text import PREFIX  # open services need none of it
    from shared.access.keyring import get_keyring

    if get_settings().jwt_issuer and not text.startswith(PREFIX):
        from shared.access.tokens import admit_token  # few services have a provider

        return admit_token(text)
    return get_keyring().admit(text)


def _lacks(scope: Scope) -> Forbidden:
    from shared.access import reasons

    error = Forbidden(reasons.NO_SCOPE.zh.format(scope=scope), reasons.NO_SCOPE.en.format(scope=scope))
    error.headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{scope}"'
    return error


def _tell(request: flask.Request, error: AppError, caller: Caller | None) -> None:
    """Never what was shown."""
    who = {"key_id": caller.key_id, "key_name": caller.name, "tenant": caller.tenant} if caller else {
        "key_id": getattr(error, "key_id", "")}
    audit.warning("refused: %s", error, extra=who | {
        "status": error.status, "method": request.method, "path": printable(request.path, 200),
        "client": request.remote_addr})
