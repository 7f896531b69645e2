"""Ports for servers that take seconds to start."""
from __future__ import annotations

import socket


def reserve_port() -> int:
    """A port on loopback that the kernel gives to nobody else for the next minute.

    A connection to it is left in TIME_WAIT (tcp(7)): the port is then not picked for others, while a server that binds
    it by number with SO_REUSEADDR, as servers do, may have it.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with socket.create_connection(listener.getsockname()) as client:
            accepted, _ = listener.accept()
            accepted.close()  # the side that closes first keeps the port
            client.recv(1)
        return listener.getsockname()[1]
