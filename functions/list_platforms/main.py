"""GET /platforms: the targets, their parameters, and the live workers of each."""
from __future__ import annotations

from shared.api import catalog
from shared.api.http import endpoint
from shared.texts import Text


@endpoint("GET", "/platforms", scope="read",
          title=Text("获取平台列表: 目标平台、参数与在线工作节点", "Targets, their parameters and live workers"),
          message=Text("获取平台列表成功", "platforms listed"))
def list_platforms() -> catalog.PlatformList:
    return catalog.list_platforms()
