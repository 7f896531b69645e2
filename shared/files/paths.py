"""The paths that a request may name: `bucket/object`, or an absolute path below a configured root."""
from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

from shared.access import Caller, get_caller
from shared.errors import InvalidRequest
from shared.settings import Settings

MAX_PATH_BYTES = 1024  # the longest key of S3
MAX_PART_BYTES = 255  # the longest name of a file; MinIO keeps each part of a key as one
PRIVATE_DIR = ".model-convert"  # where `shared.files.local` keeps its locks and unfinished files, below its root

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_RIGHT_NAME = ("应为文件名, 可含文件夹, 例如 detector.onnx 或 data/weights.bin",
               "it should be a file's name, with folders if need be, as in detector.onnx or data/weights.bin")
_RIGHT = ("应为 bucket/object, 例如 models/detector.onnx", "it should be bucket/object, as in models/detector.onnx")


def check_path(text: str, field: str, settings: Settings) -> str:
    """`text` as the store takes it: unchanged if it is a `bucket/key`, with its links resolved if it is absolute.

    The part of the server's file system that holds the object store itself cannot be named by an absolute path. Where a
    key was shown, the path has to lie where that key may name objects.

    Raises:
        InvalidRequest: the path is malformed or not allowed here; names `field` and what would be right.
    """
    path = _check_absolute(text, field, settings) if text.startswith("/") else _check_object(text, field, settings)
    if (caller := get_caller()) is not None:
        _check_place(path, field, caller, settings)
    return path


def _check_place(path: str, field: str, caller: Caller, settings: Settings) -> None:
    from shared.access import reasons
    from shared.access.places import may_name  # without keys nobody needs them, and a function's cold start counts

    if not may_name(caller, path, settings):
        places = ", ".join(caller.prefixes) or "-"
        raise _invalid(field, reasons.NOT_YOURS.zh, reasons.NOT_YOURS.en, (
            f"允许使用本租户的上传与结果, 以及: {places}",
            f"it may name its tenant's uploads and results, and: {places}"))


def _check_object(text: str, field: str, settings: Settings) -> str:
    _check_text(text, field)
    parts = text.split("/")
    _check_parts(parts, field)
    bucket = parts[0]
    if not is_bucket_name(bucket):
        raise _invalid(field, "存储桶名不合法(3-63个小写字母、数字、点或连字符)",
                       "the bucket's name is not valid (3-63 lower-case letters, digits, dots, hyphens)")
    if len(parts) < 2:
        raise _invalid(field, "缺少对象名", "the object's name is missing")
    allowed = {*settings.buckets, settings.uploads_bucket}
    if bucket == settings.cache_bucket or allowed.isdisjoint(("*", bucket)):
        raise _invalid(field, "不允许使用该存储桶", "this bucket is not allowed here")
    return text


def check_name(text: str, field: str, folder: str) -> str:
    """`text` as the name of an object below `folder`, itself `bucket/…`, with folders of its own or without.

    Raises:
        InvalidRequest: what `check_path` would refuse; names `field` and what would be right.
    """
    _check_text(text, field, _RIGHT_NAME)
    _check_parts(text.split("/"), field, _RIGHT_NAME)
    left = MAX_PATH_BYTES - len(f"{folder}/".encode())
    if len(text.encode()) > left:
        raise _invalid(field, f"超过 {left} 字节", f"it is longer than {left} bytes", _RIGHT_NAME)
    return text


def check_prefix(text: str) -> str:
    """`text` as everything below a folder or in a bucket: `bucket/…/`, or an absolute path that ends in a slash.

    Raises:
        InvalidRequest: no path that `check_path` takes would lie below it.
    """
    right = ("应为 bucket/ 或 bucket/folder/", "it should be bucket/ or bucket/folder/, with the slash at its end")
    _check_text(text, "prefix", right)
    parts = text.removesuffix("/").removeprefix("/").split("/")
    _check_parts(parts, "prefix", right)
    if not text.endswith("/") or not (text.startswith("/") or is_bucket_name(parts[0])):
        raise _invalid("prefix", "不是文件夹", "it is no folder", right)
    return text


def is_bucket_name(name: str) -> bool:
    """Whether S3 and MinIO would take it as a bucket's name.

    Source: Amazon S3 "General purpose bucket naming rules"; MinIO reserves `minio` for itself.
    """
    labels = name.split(".")
    return (3 <= len(name) <= 63 and all(map(_LABEL.fullmatch, labels)) and name != "minio"
            and not (len(labels) == 4 and all(label.isdigit() for label in labels))
            and not name.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
            and not name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")))


def _check_text(text: str, field: str, right: tuple[str, str] = _RIGHT) -> None:
    """What no path may contain, whichever kind it is."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _invalid(field, "不是有效的 Unicode 文本", "it is not valid Unicode", right) from None
    if size > MAX_PATH_BYTES:
        raise _invalid(field, f"超过 {MAX_PATH_BYTES} 字节", f"it is longer than {MAX_PATH_BYTES} bytes", right)
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in text):
        raise _invalid(field, "含有控制字符", "it contains a control character", right)
    if "\\" in text:
        raise _invalid(field, "含有反斜杠, 请用 /", "it contains a backslash; separate with /", right)


def _check_parts(parts: list[str], field: str, right: tuple[str, str] = _RIGHT) -> None:
    """Refuse parts that mean something to a file system or to a URL, also where percent-encoding hides it.

    Nothing here ever decodes a path, so `100%.onnx` is a name like any other; what would become another path if some
    proxy or client did decode it is refused.
    """
    for part in parts:
        if part in ("", ".", ".."):
            raise _invalid(field, "含有空的、“.”或“..”部分", 'a part of it is empty, "." or ".."', right)
        if len(part.encode()) > MAX_PART_BYTES:
            raise _invalid(field, f"有一部分超过 {MAX_PART_BYTES} 字节",
                           f"a part of it is longer than {MAX_PART_BYTES} bytes", right)
        decoded = part
        while (further := unquote(decoded)) != decoded:
            decoded = further
        if decoded != part and (decoded in (".", "..") or re.search(r"[/\\\ufffd\x00-\x1f\x7f]", decoded)):
            raise _invalid(field, "含有百分号编码的路径字符", "it contains percent-encoded path characters", right)


def _check_absolute(text: str, field: str, settings: Settings) -> str:
    _check_text(text, field)
    if not settings.local_roots:
        raise _invalid(field, "不允许使用绝对路径", "absolute paths are not allowed here")
    _check_parts(text[1:].split("/"), field)
    path = Path(text).resolve()
    roots = [root.resolve() for root in settings.local_roots]
    files_url = settings.files_url.get_secret_value()
    hidden = [root / PRIVATE_DIR for root in roots]
    if files_url.startswith("file:"):
        hidden.append(Path(files_url.removeprefix("file:")).resolve())
    if not any(root in path.parents for root in roots) or any(path.is_relative_to(place) for place in hidden):
        raise _invalid(field, "该绝对路径不在允许的目录之下", "this absolute path is not below an allowed directory")
    return str(path)


def _invalid(field: str, zh: str, en: str, right: tuple[str, str] = _RIGHT) -> InvalidRequest:
    return InvalidRequest(f"{field} 无效: {zh}; {right[0]}", f"{field} is invalid: {en}; {right[1]}")
