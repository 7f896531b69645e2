"""One pass of the sweep, by the settings in the environment; told are its seconds and the uploads that it found."""
from __future__ import annotations

import json
import time

from shared.deps import close_all, get_files
from shared.settings import get_settings
from shared.triggers.rule_file import get_rules
from shared.triggers.sweep import SETTLE_S, Sweep

sweep = Sweep(get_files(), get_settings(), get_rules())
if get_settings().files_url.get_secret_value().startswith("file:"):
    sweep.run()  # a file has to stand still between two looks
    time.sleep(SETTLE_S)
started = time.monotonic()
new = sweep.run()
print(json.dumps({"seconds": time.monotonic() - started, "new": len(new)}))
close_all()
