"""What a `callback_url` has to be. Nothing is looked up here: where its name leads is seen at each sending."""
from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.errors import InvalidRequest
from shared.settings import Settings

MAX_CHARS = 2048
PORTS = {"https": 443, "http": 80}
# What RFC 3986 lets stand in a URL. Readers disagree on all else: blanks, backslashes, other scripts.
_PRINTED = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")
_PLACE = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")


@dataclass(frozen=True)
class Target:
    """A URL's parts. `host` is in lower case, and an IPv6 address is without brackets; `path` has the query too."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        """The value of the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def check_callback_url(url: str, settings: Settings, field: str = "callback_url") -> str:
    """The URL, if the service may send to it: https, no user's name, and no address that callbacks must not reach. What
    `MODEL_CONVERT_CALLBACK_ALLOW` names may be called by http too.

    Raises:
        InvalidRequest: it is something else, or this service announces nothing. The message names the field.
    """
    target = read_url(url, field)
    if not settings.callback_secret.get_secret_value():
        raise _invalid(field, "本服务未设置 MODEL_CONVERT_CALLBACK_SECRET, 不发送通知",
                       "this service announces nothing, since MODEL_CONVERT_CALLBACK_SECRET is not set", right=False)
    from shared.announcements.addresses import is_global  # most requests name no URL
    from shared.announcements.allowed import read_address, read_allowed

    allowed, address = read_allowed(settings.callback_allow), read_address(target.host)
    if allowed.names(target.host, target.port) or (address is not None and allowed.holds(address)):
        return url
    if address is not None and not is_global(address):
        raise _invalid(field, f"回调不允许访问地址 {address}", f"callbacks must not reach the address {address}",
                       right=False)
    # A name may lead into an allowed network, which is seen at each sending.
    if target.scheme == "http" and (address is not None or not allowed.networks):
        raise _invalid(field, "应使用 https", "it should be https")
    return url


def read_url(url: str, field: str = "callback_url") -> Target:
    """Raises:
        InvalidRequest: it is no http(s) URL that can be read in one way only.
    """
    if len(url) > MAX_CHARS:
        raise _invalid(field, f"超过 {MAX_CHARS} 个字符", f"it is longer than {MAX_CHARS} characters")
    if not _PRINTED.fullmatch(url):
        raise _invalid(field, "含有 URL 中不允许的字符 (其他文字的主机名请写作 xn--…, 其余用百分号编码)",
                       "it has characters that no URL has (write a host in other scripts as xn--…, and percent-encode "
                       "all else)")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _invalid(field, "格式错误", "it is malformed") from None
    if parts.scheme not in PORTS:
        raise _invalid(field, "应使用 https", "it should be https")
    if "@" in parts.netloc:
        raise _invalid(field, "不得含有用户名或密码", "it must not have a user's name or password")
    if "#" in url:
        raise _invalid(field, "不得含有 #", "it must not have a fragment (#)")
    from shared.announcements.allowed import normal_host

    place = _PLACE.fullmatch(parts.netloc)
    host = normal_host(place[1]) if place else None
    if place is None or host is None or (place[2] and not 1 <= int(place[2]) <= 65535):
        raise _invalid(field, "主机名或端口错误", "its host or port is malformed")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, int(place[2] or PORTS[parts.scheme]), path)


def _invalid(field: str, zh: str, en: str, *, right: bool = True) -> InvalidRequest:
    """The message never repeats the URL: its path may be a secret of the receiver's."""
    zh_right, en_right = ("; 应为 https://主机/路径", "; should be https://HOST/PATH") if right else ("", "")
    return InvalidRequest(f"{field} 无效: {zh}{zh_right}", f"{field} is invalid: {en}{en_right}")
