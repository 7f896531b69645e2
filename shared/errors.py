"""Every error that the service raises on purpose, as one tree.

    AppError
    ├── InvalidRequest            400  the request itself is wrong
    │   └── InvalidTransition     400  the task's state does not allow the action
    ├── Unauthorized              401  the request does not show the secret that it needs
    ├── Forbidden                 403  the request may not do this
    ├── NotFound                  404
    ├── MethodNotAllowed          405
    ├── Conflict                  409  same idempotency key, other request
    ├── OtherVersion              412  the client's If-Match names another version
    ├── PayloadTooLarge           413
    ├── UnsupportedMediaType      415
    ├── RangeNotSatisfiable       416
    ├── LimitReached              429  the caller takes more than its share
    ├── NotOffered                501  this service is not set up for it
    ├── Unavailable               503  a dependency does not answer
    │   └── StorageRefused        503  the object store refuses the path, and would again
    ├── UnreadableDocument        500  one document in the store is damaged or of another version
    ├── Busy                      503  nothing is down; the same request succeeds a little later
    │   └── OutOfTime             503  the request's time is over
    ├── PreconditionFailed             a conditional write lost
    ├── Damaged                        content that is not what its digest says
    └── ConversionFailed               a stage failed; becomes the task's `error`

An `AppError` carries its message in both languages; the HTTP layer picks one by `Accept-Language`. Drivers'
errors are wrapped with `raise … from`, so that no caller has to know which adapter is behind a protocol.
"""
from __future__ import annotations

from typing import Any

from shared.rules.refusal import Refusal
from shared.texts import Text


class AppError(Exception):
    """Root of the tree. Clients see `zh` by default, and `en` with `Accept-Language: en`. `headers` are added to the
    HTTP answer."""

    status = 500

    def __init__(self, zh: str = "服务器内部错误", en: str = "internal server error") -> None:
        super().__init__(en)
        self.zh = zh
        self.en = en
        self.headers: dict[str, str] = {}

    @property
    def text(self) -> Text:
        return Text(self.zh, self.en)


class InvalidRequest(AppError):
    """The request is malformed or names something that does not exist; nothing was changed."""

    status = 400


class InvalidTransition(InvalidRequest):
    """The task exists, but its status does not allow the action."""


class Unauthorized(AppError):
    """The request does not show the secret that it needs, or a wrong one. `error` is RFC 6750's code, where something
    was shown; `key_id` is the key's, if it is known."""

    status = 401

    def __init__(self, zh: str, en: str, error: str = "") -> None:
        super().__init__(zh, en)
        self.key_id = ""
        self.headers["WWW-Authenticate"] = f'Bearer error="{error}"' if error else "Bearer"


class Forbidden(AppError):
    """The URL is not one that this service has signed, or its time is over; or the key lacks a scope; or a page
    of somebody else's sends it."""

    status = 403


class NotFound(AppError):
    """The task, the path or the object does not exist."""

    status = 404


class MethodNotAllowed(AppError):
    """The path exists, but not with this method."""

    status = 405


class Conflict(AppError):
    """The idempotency key was used for another request."""

    status = 409


class OtherVersion(AppError):
    """The client wants a part of a certain version (If-Match), and there is another one by now."""

    status = 412


class PayloadTooLarge(AppError):
    """The request's body is above the limit."""

    status = 413


class UnsupportedMediaType(AppError):
    """The request's body is not declared as JSON."""

    status = 415


class RangeNotSatisfiable(AppError):
    """The wanted bytes are not in the object of `size_bytes`."""

    status = 416

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"请求的字节范围超出内容: 共 {size_bytes} 字节",
                         f"the range is beyond the content: there are {size_bytes} bytes")
        self.headers["Content-Range"] = f"bytes */{size_bytes}"


class LimitReached(AppError):
    """The request is right, but its caller, or all together, have reached a limit of the settings. The message names
    it."""

    status = 429

    def __init__(self, zh: str, en: str, retry_after_s: int) -> None:
        super().__init__(zh, en)
        self.headers["Retry-After"] = str(retry_after_s)


class NotOffered(AppError):
    """The request is right, but this service is not set up for it. The message says what would have to be."""

    status = 501


class Unavailable(AppError):
    """A dependency (store, queue, files) did not answer in time. An unanswered write may have taken place.
    `tls_fault` says why there is no connection by TLS, where that is the reason."""

    status = 503

    def __init__(self, dependency: str, detail: str = "", tls_fault: str = "") -> None:
        told = f" (TLS: {tls_fault})" if tls_fault else ""
        super().__init__(f"依赖服务不可用: {dependency}{told}", f"dependency unavailable: {dependency}{told}")
        self.dependency = dependency
        self.detail = detail
        self.tls_fault = tls_fault

    def __str__(self) -> str:
        return f"{self.en} ({self.detail})" if self.detail else self.en


class StorageRefused(Unavailable):
    """The object store refuses the path, and would again: nobody may write there, or its name is too long. `why` is
    the store's own word for it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__("files", f"{path}: {why}")
        self.path, self.why = path, why


class UnreadableDocument(AppError):
    """A document in the store is damaged, or of another version. `why` names the fields, never their content.

    Readers of many documents pass over it; it is a value for them as often as an error.
    """

    def __init__(self, kind: str, document_id: str, why: str) -> None:
        super().__init__(
            f"任务的文档无法读取 ({why}): 已损坏, 或由其他版本的服务写入; POST /tasks/batch-delete 仍可将其删除",
            f"the task's document cannot be read ({why}): it is damaged, or another version of the service wrote it; "
            "POST /tasks/batch-delete still removes it")
        self.kind, self.id, self.why = kind, document_id, why


class Busy(AppError):
    """The request is right and nothing is down, but there is too much to do; a retry a little later succeeds."""

    status = 503

    def __init__(self, zh: str, en: str, retry_after_s: int) -> None:
        super().__init__(zh, en)
        self.headers["Retry-After"] = str(retry_after_s)


class OutOfTime(Busy):
    """The work took longer than it may (`shared.deadlines`)."""

    def __init__(self) -> None:
        super().__init__("处理超时, 请稍后重试", "it takes longer than a request may: try again later", 5)


class PreconditionFailed(AppError):
    """A conditional write found another object than its condition names; nothing was written."""

    def __init__(self, path: str) -> None:
        super().__init__(f"对象已被修改: {path}", f"object was changed meanwhile: {path}")


class Damaged(AppError):
    """Content is not what its digest says."""

    def __init__(self, path: str) -> None:
        super().__init__(f"内容与其摘要不符: {path}", f"the content is not what its digest says: {path}")


class ConversionFailed(AppError):
    """A stage failed for good, by the `refusal`. `stage` is empty where it is the running one."""

    def __init__(self, refusal: Refusal, *, stage: str = "", log_tail: str = "") -> None:
        super().__init__(refusal.message_zh, refusal.message)
        self.refusal = refusal
        self.stage = stage
        self.log_tail = log_tail
        self.found = refusal.found
        self.seconds = 0.0  # how long the stage had run
        self.attempts: list[Any] | None = None  # `documents.Attempted`: what has been tried

    @property
    def code(self) -> str:
        return self.refusal.code

    @property
    def hint(self) -> str:
        return self.refusal.hint

    @property
    def vendor_code(self) -> str | None:
        return self.refusal.vendor_code
