"""What would fail after an hour, told in a second: a model's header, its fit to a target, and the calibration set.

The model and the set are parsed in a limited child (`child`), by byte ranges; their judges are here.
"""
