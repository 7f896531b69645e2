"""The node that `infra.servers.rabbitmq` starts: private, on loopback, and gone when stopped."""
from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pika
import psutil
import pytest

from infra.servers.base import free_port
from infra.servers.rabbitmq import RabbitServer, rabbitmqctl
from tests.fixtures.rabbitmq import PrivateBroker, start_or_skip


def processes_of(server: RabbitServer) -> list[psutil.Process]:
    """Every living process that was started with this node's own name server port."""
    def ours(process: psutil.Process) -> bool:
        try:
            return (process.status() != psutil.STATUS_ZOMBIE
                    and process.environ().get("ERL_EPMD_PORT") == server.env["ERL_EPMD_PORT"])
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if ours(process)]


def none_left(server: RabbitServer) -> bool:
    deadline = time.monotonic() + 60
    while processes_of(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not processes_of(server)


def test_several_nodes_run_at_once_and_each_listens_on_loopback_only(tmp_path: Path, private_broker: PrivateBroker,
                                                                     request: pytest.FixtureRequest) -> None:
    other = start_or_skip(tmp_path / "other")
    request.addfinalizer(other.stop)
    for server in (other, private_broker.server):
        addresses = {connection.laddr.ip for process in processes_of(server)
                     for connection in process.net_connections("inet") if connection.status == psutil.CONN_LISTEN}
        assert addresses and addresses <= {"127.0.0.1", "::1"}
        with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
            assert connection.is_open
    rabbitmqctl(private_broker.server, "add_vhost", "only-here")
    assert "only-here" not in rabbitmqctl(other, "list_vhosts")


@pytest.mark.parametrize("way", ["stop", "kill", "crash then stop"])
def test_an_ended_node_leaves_no_process_behind(tmp_path: Path, way: str) -> None:
    server = start_or_skip(tmp_path / "node")
    assert {process.name() for process in processes_of(server)} >= {"beam.smp", "epmd"}
    if way == "kill":
        server.kill()
    else:
        if way != "stop":
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        server.stop()
    assert none_left(server)


def test_durable_queues_and_their_messages_survive_a_restart(private_broker: PrivateBroker) -> None:
    with pika.BlockingConnection(pika.URLParameters(private_broker.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        channel.basic_publish("", "kept", b"still here", pika.BasicProperties(delivery_mode=2))
    private_broker.server.stop()
    private_broker.start()
    with pika.BlockingConnection(pika.URLParameters(private_broker.url)) as connection:
        assert connection.channel().basic_get("kept", auto_ack=True)[2] == b"still here"


def test_a_reserved_port_is_picked_for_nobody_else_but_can_be_bound_by_number() -> None:
    port = free_port()
    with socket.socket() as other:
        with pytest.raises(OSError, match="Address already in use"):
            other.bind(("127.0.0.1", port))
        other.bind(("127.0.0.1", 0))
        assert other.getsockname()[1] != port
    with socket.create_server(("127.0.0.1", port)) as server:  # sets SO_REUSEADDR, as servers do
        assert server.getsockname()[1] == port
