"""Adapters behind a protocol, chosen by a URL's scheme. Only the chosen one is imported."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from shared.errors import AppError


@dataclass(frozen=True)
class Adapter:
    """`factory` is `module:function`; `install` is the command that brings the driver, where the module needs one."""

    factory: str
    install: str = ""


def find_factory(what: str, adapters: Mapping[str, Adapter], url: str) -> Callable[..., Any]:
    """The function that opens `url`; `what` names the kind of adapter in the message.

    Raises:
        AppError: the scheme is unknown, or the adapter's driver is not installed.
    """
    scheme = url.partition(":")[0]
    adapter = adapters.get(scheme)
    if adapter is None:
        known = ", ".join(f"{name}:" for name in adapters)
        raise AppError(f"未知的 {what} 类型: {scheme} (应为 {known})", f"unknown {what} scheme: {scheme} ({known})")
    module, _, name = adapter.factory.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise AppError(f"{scheme}: 缺少 {error.name}, 请安装: {adapter.install}",
                       f"{scheme}: needs {error.name}, install it: {adapter.install}") from error
