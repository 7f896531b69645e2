"""Whom callbacks may reach beside the public internet: the entries of `MODEL_CONVERT_CALLBACK_ALLOW`."""
from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Letters of other scripts come as `xn--…`. Names of containers may have an underscore.
_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
RIGHT = "should be HOST:PORT or a network such as 10.1.0.0/16; several are separated by commas"


@dataclass(frozen=True)
class Allowed:
    """`hosts` are names or addresses with their port: whatever the name leads to may be reached."""

    hosts: frozenset[tuple[str, int]]
    networks: tuple[Network, ...]

    def names(self, host: str, port: int) -> bool:
        return (host, port) in self.hosts

    def holds(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


@lru_cache(maxsize=8)
def read_allowed(entries: tuple[str, ...]) -> Allowed:
    """Raises:
        ValueError: an entry is neither.
    """
    hosts, networks = set(), []
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry))  # an address alone is a network of one
        except ValueError:
            hosts.add(_read_host(entry))
    return Allowed(frozenset(hosts), tuple(networks))


def _read_host(entry: str) -> tuple[str, int]:
    host, colon, port = entry.rpartition(":")
    name = normal_host(host)
    if not colon or name is None or not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{entry!r} {RIGHT}")
    return name, int(port)


def normal_host(host: str) -> str | None:
    """One spelling of a name or an address, as it stands in a URL; None where it is neither."""
    if host.startswith("[") and host.endswith("]") and "%" not in host:
        address = read_address(host[1:-1])
        return str(address) if isinstance(address, ipaddress.IPv6Address) else None
    return host.lower() if HOST.fullmatch(host) else None


def read_address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None

