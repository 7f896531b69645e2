"""The imports of the vendor interpreter's host: the stages' own code and NumPy, which starts no thread here.

Not `magicmind` itself: what its libraries start at import is not documented, and a fork keeps no thread. Each stage's
child imports it.
"""
import numpy  # noqa: F401

import worker.platforms.cambricon.compile
import worker.platforms.cambricon.verify  # noqa: F401
