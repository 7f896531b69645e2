"""TLS to store, queue and files: which authorities are trusted, what is shown to a server that asks, and what a failed
handshake is called.

A certificate and its name are checked wherever TLS is spoken. There is no setting that turns this off, and `find_holes`
finds the drivers' own ones in a URL.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from shared.errors import Unavailable

if TYPE_CHECKING:
    import ssl

# Options of the drivers' URLs. pymongo: https://www.mongodb.com/docs/languages/python/pymongo-driver/current/security/tls/;
# pika: `URLParameters`.
_HOLES = frozenset({"tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames", "ssl_cert_reqs",
                    "ssl_match_hostname", "ssl_options"})
_TOLD = re.compile(r"\[SSL(?:: \w+)?\] (?:certificate verify failed: )?([^(]+?)\.? \(_ssl")  # OpenSSL's, by Python


@dataclass(frozen=True)
class Tls:
    """`ca_file` (PEM) is trusted instead of the system's authorities. `certificate_file` (PEM) has the service's own
    certificate with its chain and its key."""

    ca_file: Path | None = None
    certificate_file: Path | None = None

    def make_context(self) -> ssl.SSLContext:
        """A client's context that checks certificates and names.

        Raises:
            OSError: a file cannot be read, or is not PEM (`ssl.SSLError`).
        """
        import ssl  # most functions speak to a store without TLS, and their cold start counts

        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file:
            context.load_cert_chain(self.certificate_file)
        return context


NO_FILES = Tls()


def find_holes(url: str) -> list[str]:
    """The options in a URL that would turn the check of certificates or names off."""
    return [name for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=True)
            if name.lower() in _HOLES and value.lower() != "false"]


def find_tls_fault(error: BaseException | str) -> str:
    """Why a handshake failed, in OpenSSL's words and without the server's name; empty where it was something else. The
    drivers keep OpenSSL's error as text, so that is where it is looked for."""
    found = _TOLD.search(error if isinstance(error, str) else f"{error} {error!r}")
    return found[1].partition(", certificate is not valid for")[0] if found else ""


def unavailable(dependency: str, error: BaseException, detail: str | None = None) -> Unavailable:
    """The error for a dependency that a driver's error keeps from answering. `detail` is for the log; of a failed
    handshake it is all that the driver says."""
    fault = find_tls_fault(error)
    return Unavailable(dependency, str(error) if fault or detail is None else detail, fault)
