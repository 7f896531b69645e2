"""GET /health: whether each dependency answers, and how fast; 503 when one does not."""
from __future__ import annotations

from shared.api.health import Health, check_health
from shared.api.http import endpoint
from shared.texts import Text


@endpoint("GET", "/health", scope="admin", without_key=True,
          title=Text("健康检查: 各依赖服务的状态与延迟", "Each dependency's state and latency"),
          message=Text("服务正常", "all dependencies answer"),
          limited=False)  # who watches over the service would take it for ill
def health() -> Health:
    return check_health()
