"""The probe of a vendor's interpreter. It runs under any Python 3 and prints one line of JSON.

`{"python": [3, 8], "magicmind": version or null, "devices": how many MLUs can be opened}`; "error" in their place where
MagicMind cannot be imported.
"""
import glob
import hashlib
import json
import os
import re
import sys


def find_version(package):
    """The package's own word, that of the installer, the library's file name, or a digest of the extension."""
    if getattr(package, "__version__", None):
        return str(package.__version__)
    try:
        from importlib.metadata import version
        return version("magicmind")
    except Exception:
        pass
    libraries = os.path.join(os.environ.get("NEUWARE_HOME", ""), "lib64", "libmagicmind.so*")
    for path in sorted(glob.glob(libraries)):
        found = re.search(r"\.so\.(\d+(?:\.\d+)+)$", os.path.realpath(path))
        if found:
            return found.group(1)
    extensions = glob.glob(os.path.join(next(iter(package.__path__)), "python", "cc", "*.so"))
    digest = hashlib.sha256()
    for path in sorted(extensions):
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return "sha256-" + digest.hexdigest()[:16] if extensions else None


def count_devices(mm):
    """0 as well where there is no driver: how a release tells that is not documented."""
    try:
        with mm.System() as system:
            return int(system.device_count())
    except Exception:
        return 0


def main():
    told, failure = {"python": list(sys.version_info[:2])}, {}
    try:
        import magicmind
        import magicmind.python.runtime as mm
        import numpy  # noqa: F401
        told.update(magicmind=find_version(magicmind), devices=count_devices(mm))
    except Exception as error:
        failure["error"] = type(error).__name__ + ": " + str(error)
    print("\n" + json.dumps({**told, **failure}))


if __name__ == "__main__":
    main()
