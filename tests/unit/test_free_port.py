"""A port for a server: the server may bind it, and whoever looks for a free one may not."""
from __future__ import annotations

import errno
import socket

import pytest

from infra.servers.base import free_port


def test_a_server_may_bind_a_free_port_at_once() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        server.bind(("127.0.0.1", free_port()))
        server.listen()


def test_nobody_else_who_looks_for_a_free_port_gets_it() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError) as refused:
        other.bind(("127.0.0.1", port))
    assert refused.value.errno == errno.EADDRINUSE
