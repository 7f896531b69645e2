"""What holds for all that clients upload: one wording and one bound for the stages and for the pre-flight.

Standard library only, Python 3.8+: stages use it in toolchains' interpreters, the pre-flight in HTTP functions.
"""
