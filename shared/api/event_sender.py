"""Whether the sender of an event knows the token (`MODEL_CONVERT_EVENTS_TOKEN`)."""
from __future__ import annotations

import hmac

import flask

from shared.api.authorization import needs_key
from shared.errors import Unauthorized
from shared.settings import get_settings


def check_token(request: flask.Request) -> None:
    """MinIO shows the token as a bearer's. Amazon SNS can only do so as the password of the URL that it is given, which
    it sends as basic authentication; others only have the URL: the query's `access_token` (RFC 6750, 2.3).

    Raises:
        Unauthorized: there is a token, and the request does not show it; or there is none where others need keys.
    """
    token = get_settings().events_token.get_secret_value()
    if not token:
        if needs_key(request):
            from shared.access import reasons

            raise Unauthorized(reasons.EVENTS_TOKEN.zh, reasons.EVENTS_TOKEN.en)
        return
    shown = [request.args.get("access_token", "")]
    if given := request.authorization:
        shown += [given.token or "", given.password or ""]
    if not any(hmac.compare_digest(text.encode("utf-8", "surrogatepass"), token.encode()) for text in shown):
        raise Unauthorized("缺少令牌或令牌不正确: 应为 Authorization: Bearer <MODEL_CONVERT_EVENTS_TOKEN>",
                           "the token is missing or wrong; it should be "
                           "Authorization: Bearer <MODEL_CONVERT_EVENTS_TOKEN>")
