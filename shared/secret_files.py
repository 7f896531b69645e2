"""A secret that lies in a file: `X_FILE` names it in the environment, as Docker's and Kubernetes' secrets are given."""
from __future__ import annotations

import os
from collections.abc import Mapping

MAX_BYTES = 64 << 10


class WrongSecretFile(Exception):
    """The text names the variables and the file, and shows nothing of what is in it."""


def is_given(environ: Mapping[str, str], variable: str) -> bool:
    """Whether the environment has the variable, or names a file for it."""
    return variable in environ or bool(environ.get(f"{variable}_FILE"))


def read_given(environ: Mapping[str, str], variable: str) -> str | None:
    """The variable's value, or what is in the file that `…_FILE` names, without the line break at its end; None where
    there is neither. An empty `…_FILE` names no file.

    Raises:
        WrongSecretFile: both are there, or the file cannot be used.
    """
    of_file = f"{variable}_FILE"
    path = environ.get(of_file)
    if not path:
        return environ.get(variable)
    if environ.get(variable):
        raise WrongSecretFile(f"{variable} and {of_file} are both set: one of them has to go")
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        raise WrongSecretFile(f"{of_file}: {path} cannot be read: {why}") from None
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise WrongSecretFile(f"{of_file}: {path} is no text in UTF-8") from None  # the cause holds the content
    if not text or len(content) > MAX_BYTES or "\0" in text:
        raise WrongSecretFile(f"{of_file}: {path} is empty, longer than {MAX_BYTES} bytes, or no text")
    return text
