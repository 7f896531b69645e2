"""The targets. Each module of this package that has a `PLATFORM` is one; nothing else lists them."""
from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache

from shared.platforms.base import Platform


@lru_cache(maxsize=1)
def get_platforms() -> dict[str, Platform]:
    """Every target by its name, in order of name."""
    modules = (importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    found = (getattr(module, "PLATFORM", None) for module in modules)
    return {platform.name: platform for platform in sorted(filter(None, found), key=lambda p: p.name)}
