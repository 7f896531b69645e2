"""Renew what the pre-flight knows of operators: `python -m infra.operators [TARGET…]`.

Without a target, the table of ONNX and ONNX Runtime; with one, what its toolchain takes, found by running it.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

import shared.platforms
from infra.operators.standard import table
from shared.preflight import onnx_operators


def main(targets: list[str]) -> None:
    if not targets:
        text = json.dumps(table(), separators=(",", ":")).replace('},"', '},\n"').replace('],"', '],\n"')
        Path(onnx_operators.__file__).with_suffix(".json").write_text(text + "\n")
    for target in targets:
        from infra.operators.probe import probe

        path = Path(shared.platforms.__file__).with_name(f"{target}.operators.json")
        path.write_text(json.dumps(probe(target), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
