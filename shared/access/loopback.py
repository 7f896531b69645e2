"""Whether a host is this machine's own."""
from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def is_loopback(host: str) -> bool:
    """Of a host as servers, settings and requests name it: a name, whatever a name server says of it (RFC 6761), or an
    address with or without brackets."""
    plain = host.lower().strip("[]")
    if plain == "localhost" or plain.endswith(".localhost"):
        return True
    try:
        address = ip_address(plain)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
