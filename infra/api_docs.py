"""/docs (Swagger UI), /redoc and /openapi.json, all from here: no page asks another host for anything."""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import flask
from openapi_ui_bundles import redoc, swagger_ui

from shared.api.authorization import needs_key
from shared.api.http import Endpoint
from shared.api.openapi import build_document

# The pages may load from this host only; ReDoc's logo, which lies at its maker's, is refused by this. Both write their
# styles themselves, and ReDoc searches in a worker that it makes from a blob.
POLICY = ("default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; worker-src blob:; "
          "object-src 'none'; base-uri 'none'; frame-ancestors 'none'")

SWAGGER_UI = """<!DOCTYPE html>
<html lang="zh">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>模型转换服务 - Swagger UI</title>
  <link rel="stylesheet" href="/docs/assets/swagger-ui.css">
  <link rel="icon" href="/docs/assets/favicon-32x32.png">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="/docs/assets/swagger-ui-bundle.js"></script>
  <script src="/docs/start.js"></script>
</body>
</html>
"""

START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, docExpansion: "list"
});
"""

REDOC = """<!DOCTYPE html>
<html lang="zh">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>模型转换服务 - ReDoc</title>
  <link rel="icon" href="/docs/assets/favicon-32x32.png">
  <style>body { margin: 0; }</style>
</head>
<body>
  <redoc spec-url="/openapi.json"></redoc>
  <script src="/redoc/assets/redoc.standalone.js"></script>
</body>
</html>
"""


def add_docs(app: flask.Flask, endpoints: Sequence[Endpoint]) -> None:
    @lru_cache(maxsize=2)
    def document(with_keys: bool) -> bytes:
        return app.json.dumps(build_document(endpoints, with_keys=with_keys), sort_keys=False).encode()

    def page(path: str, body: str, content_type: str = "text/html; charset=utf-8") -> None:
        headers = {"Content-Security-Policy": POLICY}
        app.add_url_rule(path, path, lambda: flask.Response(body, headers=headers, content_type=content_type))

    page("/docs", SWAGGER_UI)
    page("/docs/start.js", START, "text/javascript; charset=utf-8")
    page("/redoc", REDOC)
    app.add_url_rule("/openapi.json", "openapi", lambda: flask.Response(
        document(needs_key(flask.request)), content_type="application/json; charset=utf-8"))
    for prefix, bundle in (("docs", swagger_ui), ("redoc", redoc)):
        app.add_url_rule(f"/{prefix}/assets/<path:name>", f"{prefix}-assets",
                         lambda name, folder=bundle.static_path: flask.send_from_directory(folder, name, max_age=3600))
