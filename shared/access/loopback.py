"""Whether a host is this machine's own."""
from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Of a host as servers and settings name it: a name, or an address with or without brackets."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
