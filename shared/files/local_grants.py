"""Uploads to local files: the gateway takes them, by URLs that the service signs itself.

`PUT /uploads/TOKEN/bucket/key`. The token says until when, which bytes of which upload, and it is signed together with
the path. So the gateway needs to look up nothing, and takes nothing that was not granted.
"""
from __future__ import annotations

import base64
import hmac
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pydantic import SecretStr

from shared.errors import Forbidden, InvalidRequest
from shared.files.grants import Grant, Part
from shared.files.local import _reported as reported
from shared.files.local_incoming import Incoming, take_part, take_whole
from shared.files.local_parts import Parts
from shared.files.local_secret import read_secret
from shared.files.local_tree import Tree
from shared.tls import Tls

PREFIX = "/uploads/"
WHOLE = "-"  # in the place of the id of an upload in parts
VERSION = "1"


class Signed(NamedTuple):
    """What a token says; all of it is text without dots."""

    version: str
    expires_at: str
    parts_id: str
    number: str
    start: str
    size_bytes: str


class LocalGrants:
    """`Grants` over the folder of `LocalFiles`, in any number of processes."""

    through_gateway = True

    def __init__(self, root: Path, secret: SecretStr | None = None, lock_timeout_s: float = 10.0) -> None:
        self._tree = Tree(root.resolve(), lock_timeout_s)
        self._parts = Parts(self._tree)
        self._secret = secret.get_secret_value().encode() if secret else b""

    def whole(self, path: str, size_bytes: int, expires_at: float) -> Grant:
        return self._grant(path, WHOLE, Part(0, 0, size_bytes), expires_at)

    def begin(self, path: str, size_bytes: int) -> str:
        with reported(path):
            return self._parts.begin(size_bytes)

    def part(self, path: str, parts_id: str, part: Part, expires_at: float) -> Grant:
        return self._grant(path, parts_id, part, expires_at)

    def arrived(self, path: str, parts_id: str) -> dict[int, int] | None:
        with reported(path):
            return self._parts.arrived(parts_id)

    def join(self, path: str, parts_id: str, parts: list[Part]) -> None:
        with reported(path):
            self._parts.join(parts_id, tuple(path.split("/")))

    def open(self, token: str, path: str, size_bytes: int | None) -> Incoming:
        """Take the body that the token has granted, of `size_bytes` as the client declares.

        Raises:
            Forbidden: the token is not ours, is not for this path, or its time is over.
            InvalidRequest: the size is another than was granted.
            NotFound: the parts are joined, or were forgotten.
            Busy: the same part is coming in already.
        """
        signed = self._check(token, path)
        if size_bytes is None or size_bytes != int(signed.size_bytes):
            got = "-" if size_bytes is None else size_bytes
            raise InvalidRequest(f"Content-Length 应为 {signed.size_bytes}, 收到 {got}",
                                 f"Content-Length should be {signed.size_bytes}, it is {got}")
        parts = tuple(path.split("/"))
        with reported(path):
            if signed.parts_id == WHOLE:
                return take_whole(self._tree, parts, size_bytes)
            return take_part(self._parts, parts, signed.parts_id,
                             Part(int(signed.number), int(signed.start), size_bytes))

    def close(self) -> None:
        """Nothing is held open."""

    def _grant(self, path: str, parts_id: str, part: Part, expires_at: float) -> Grant:
        signed = Signed(VERSION, str(int(expires_at)), parts_id, str(part.number), str(part.start),
                        str(part.size_bytes))
        url = f"{PREFIX}{'.'.join((*signed, self._mac(signed, path)))}/{quote(path)}"
        return Grant("PUT", url, float(int(expires_at)), {"Content-Length": str(part.size_bytes)})

    def _check(self, token: str, path: str) -> Signed:
        *fields, mac = token.split(".")
        if len(fields) != len(Signed._fields) or fields[0] != VERSION or not token.isascii() or (
                not hmac.compare_digest(mac, self._mac(Signed(*fields), path))):
            raise Forbidden("上传地址无效", "this is not an upload's URL of this service")
        signed = Signed(*fields)
        if int(signed.expires_at) < time.time():
            raise Forbidden("上传地址已过期, 请用 POST /uploads 和 upload_id 重新获取",
                            "the upload's URL has expired: POST /uploads with the upload_id gives a new one")
        return signed

    def _mac(self, signed: Signed, path: str) -> str:
        if not self._secret:
            with reported(""):
                self._secret = read_secret(self._tree)
        text = "\n".join((*signed, path)).encode()
        return base64.urlsafe_b64encode(hmac.digest(self._secret, text, "sha256")).decode().rstrip("=")


def open_local(url: str, timeout_s: float, public_url: str, secret: SecretStr | None, tls: Tls) -> LocalGrants:
    return LocalGrants(Path(url.removeprefix("file:")), secret)
