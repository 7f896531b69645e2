"""Where a callback's name leads, and whether callbacks may go there.

Whoever can create a task names a URL, and a worker calls it from inside. So a name is looked up once for each attempt,
all of its addresses are checked, and the connection is made to one of these and to nothing that is looked up again: a
name that leads elsewhere the next moment leads nowhere.
"""
from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable

from shared.announcements.allowed import Address, Network, read_address, read_allowed
from shared.announcements.outcomes import Problem
from shared.announcements.urls import Target
from shared.settings import Settings

Resolver = Callable[[str, int], list[str]]  # addresses of a name, as text; OSError or UnicodeError where it has none

LOOKUPS = 8  # at once; one lasts as long as the system's resolver likes, and nothing can end it

# The special-purpose registries of IANA (RFC 6890), whichever of them this Python's `ipaddress` knows of.
_REFUSED: tuple[Network, ...] = tuple(ipaddress.ip_network(network) for network in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
    "168.63.129.16/32",  # not special to IANA: Azure's own services inside each of its machines
    "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
# No other IPv6 address belongs to anybody: IPv4-mapped ones and 64:ff9b::/96, which lead to IPv4, are outside of it.
_UNICAST_6 = ipaddress.IPv6Network("2000::/3")


class Refused(Exception):
    """The name leads nowhere, or where callbacks must not go."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def is_global(address: Address) -> bool:
    """Whether it is somebody's on the public internet."""
    if isinstance(address, ipaddress.IPv6Address) and (address not in _UNICAST_6 or address.scope_id):
        return False
    return address.is_global and not any(address in network for network in _REFUSED)


def look_up(target: Target, settings: Settings, ends_at: float, resolve: Resolver) -> list[Address]:
    """The addresses of the target's host, all of which may be reached. `ends_at` is monotonic.

    Raises:
        Refused: it has none, or one of them must not be reached.
        TimeoutError: the resolver has not answered until `ends_at`.
    """
    found = [read_address(text) for text in _resolve(target, ends_at, resolve)]
    if not found:
        raise Refused("name")
    allowed = read_allowed(settings.callback_allow)
    named = allowed.names(target.host, target.port)
    addresses = []
    for address in found:
        if address is None or not (named or allowed.holds(address)
                                   or (target.scheme == "https" and is_global(address))):
            raise Refused("address")
        addresses.append(address)
    return list(dict.fromkeys(addresses))


_free = threading.BoundedSemaphore(LOOKUPS)


def _resolve(target: Target, ends_at: float, resolve: Resolver) -> list[str]:
    """The system's resolver knows no time limit. So a thread asks it, which is left behind if it takes too long."""
    if not _free.acquire(timeout=max(ends_at - time.monotonic(), 0)):
        raise TimeoutError
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve(target.host, target.port))
        except Exception as error:
            answers.put(error)
        finally:
            _free.release()

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    try:
        answer = answers.get(timeout=max(ends_at - time.monotonic(), 0))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, (OSError, UnicodeError)):
        raise Refused("name") from answer
    if isinstance(answer, Exception):
        raise answer
    return answer


def resolve_by_system(host: str, port: int) -> list[str]:
    """As every program of the machine: hosts file, DNS, whatever else is set up."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
