"""From which pages browsers may reach the service: the names in Host, the pages in Origin, and CORS.

A page of a stranger can make its own name lead to 127.0.0.1 (DNS rebinding). The browser then takes the answers of
a service on loopback for the page's own. Only Host shows it: there the page's name stands. So a connection to loopback
has to name loopback, or a name that the settings know. Programs send no Origin, so that nothing here is about them.
"""
from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

import flask

from shared.access.loopback import is_loopback
from shared.errors import Forbidden
from shared.settings import PREFIX, Settings, get_settings
from shared.validation_messages import printable

UNCHANGING = ("GET", "HEAD", "OPTIONS")
DEFAULT_PORTS = {"http": "80", "https": "443"}
# What a page may read of an answer, and send with a request, beside what CORS always lets it.
EXPOSED = ("Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Range, ETag, Location, Retry-After, "
           "WWW-Authenticate, X-Request-Id")
TAKEN = "Accept-Language, Authorization, Content-Type, If-Match, If-Range, Last-Event-ID, Range, X-Request-Id"
PREFLIGHT_S = 600

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?", re.ASCII)


def check_host(request: flask.Request) -> None:
    """Raises:
        Forbidden: the request's Host is no name of this service.
    """
    host = request.environ.get("HTTP_HOST", "")  # of several lines, joined, none is a name
    settings = get_settings()
    if host and not _is_ours(host, request.environ.get("SERVER_NAME", ""), settings.hosts, settings.public_url):
        shown = printable(host, 80)
        raise Forbidden(f"不接受的主机名 (Host): {shown}; {PREFIX}HOSTS 列出本服务的主机名",
                        f"this is no name of the service (Host): {shown}; {PREFIX}HOSTS lists them")


def check_origin(request: flask.Request) -> None:
    """Raises:
        Forbidden: a page of another host wants to change something, and the settings do not name it.
    """
    origin = request.environ.get("HTTP_ORIGIN")
    if origin is None or request.method in UNCHANGING or _is_allowed(origin, get_settings()) or (
            _is_same(origin, request.environ.get("HTTP_HOST", ""))):
        return
    shown = printable(origin, 80)
    raise Forbidden(f"不接受来自该网页的修改请求 (Origin): {shown}; {PREFIX}CORS_ORIGINS 列出允许的网页来源",
                    f"pages of this origin may change nothing here: {shown}; {PREFIX}CORS_ORIGINS lists those that may")


def share_with_origin(response: flask.Response, request: flask.Request) -> None:
    """CORS: a page that the settings name may read the answer. Cookies mean nothing here, so credentials are never
    allowed. An answer to OPTIONS says with `Allow` which methods there are."""
    settings = get_settings()
    if not settings.cors_origins:
        return
    response.vary.add("Origin")
    origin = request.environ.get("HTTP_ORIGIN")
    if origin not in settings.cors_origins:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = EXPOSED
    if request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.environ:
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
        response.headers["Access-Control-Allow-Headers"] = TAKEN
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_S)


@lru_cache(maxsize=256)
def _is_ours(host: str, local_address: str, hosts: tuple[str, ...], public_url: str) -> bool:
    """`hosts` hold everywhere, if there are any; else a connection that comes to loopback has to name loopback."""
    on_loopback = is_loopback(local_address)
    if not (hosts or on_loopback):
        return True
    found = _AUTHORITY.fullmatch(host)
    name = found[1].lower().rstrip(".") if found else ""
    known = {known.lower() for known in hosts} | {_netloc_name(public_url)}
    return bool(name) and (name in known or (on_loopback and is_loopback(name)))


def _is_allowed(origin: str, settings: Settings) -> bool:
    return origin in settings.cors_origins or (bool(settings.public_url) and origin == _origin_of(settings.public_url))


@lru_cache(maxsize=256)
def _is_same(origin: str, host: str) -> bool:
    """Whether the page lies where its request goes. Behind a proxy that speaks TLS the schemes differ."""
    scheme, _, authority = origin.partition("://")
    page, target = _AUTHORITY.fullmatch(authority), _AUTHORITY.fullmatch(host)
    if not (page and target and scheme in DEFAULT_PORTS):
        return False
    default = DEFAULT_PORTS[scheme]
    return (page[1].lower(), page[2] or default) == (target[1].lower(), target[2] or default)


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _netloc_name(url: str) -> str:
    found = _AUTHORITY.fullmatch(urlsplit(url).netloc)
    return found[1].lower() if found else ""
