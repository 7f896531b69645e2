"""Documents as SQLite selects them."""
from __future__ import annotations

from shared.documents import LONG_FIELDS

# A row of a document. It comes as bytes, since text that is no UTF-8 would fail the whole statement.
ROW = "id, CAST(doc AS BLOB)"
SHORT_ROW = "id, CAST(CASE json_type(CASE WHEN json_valid(doc) THEN doc END) WHEN 'object' THEN json_remove(doc, " \
            + ", ".join(f"'$.{name}'" for name in LONG_FIELDS) + ") ELSE doc END AS BLOB)"
