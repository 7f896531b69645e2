"""TLS to the real servers, with authorities of the test's own: who is trusted, who is not, and what is said of it."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infra.servers.base import free_port
from shared.api.health import check_health
from shared.deps import close_all
from shared.errors import Unavailable
from shared.files import Files, open_files
from shared.queue import Queue, open_queue
from shared.store import Store, open_store
from shared.tls import NO_FILES, Tls
from tests.fixtures.tls import ADDRESS, Authority, MinioWithTls, MongoBehindTls, RabbitWithTls, TlsServer

TIMEOUT_S = 20.0
TRIES = 10  # on a busy machine a handshake takes longer than a health check waits
FAULT_S = 8.0  # MongoDB's driver tries again until the time is over
KINDS = ("store", "queue", "files")
# A server may send its authority's certificate too, as our front does.
UNKNOWN = ("unable to get local issuer certificate", "self-signed certificate in certificate chain")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Tls:
    """What the service should be given."""
    return Tls(authority.file, authority.sign("the-service"))


@pytest.fixture(scope="module")
def store(mongo_server_url: str, authority: Authority) -> Iterator[TlsServer]:
    server = MongoBehindTls(mongo_server_url, authority)
    yield server
    server.front.close()


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[TlsServer]:
    server = RabbitWithTls(tmp_path_factory.mktemp("rabbitmq-with-tls"), authority, free_port())
    yield server
    server.server.stop()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[TlsServer]:
    server = MinioWithTls(tmp_path_factory.mktemp("minio-with-tls"), authority)
    yield server
    server.server.stop()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(kind: str, request: pytest.FixtureRequest, authority: Authority) -> Iterator[TlsServer]:
    server: TlsServer = request.getfixturevalue(kind)
    server.show(authority.sign())
    yield server


def connect(kind: str, url: str, tls: Tls, timeout_s: float = TIMEOUT_S) -> Store | Queue | Files:
    if kind == "store":
        return open_store(url, timeout_s, tls)
    if kind == "files":
        return open_files(url, timeout_s, tls)
    return open_queue(url, lambda: pytest.fail("no store is needed"), timeout_s=timeout_s, poll_s=1.0, tls=tls)


def fault(kind: str, url: str, tls: Tls) -> str:
    """Why the handshake fails."""
    with closing(connect(kind, url, tls, FAULT_S)) as opened, pytest.raises(Unavailable) as refused:
        opened.ping()
    assert refused.value.dependency == kind
    assert refused.value.en == f"dependency unavailable: {kind} (TLS: {refused.value.tls_fault})"
    assert refused.value.zh == f"依赖服务不可用: {kind} (TLS: {refused.value.tls_fault})"
    return refused.value.tls_fault


def test_a_server_of_an_authority_of_ones_own_is_reached(kind: str, server: TlsServer, ours: Tls) -> None:
    with closing(connect(kind, server.url, ours)) as opened:
        opened.ping()


def test_another_authority_is_not_trusted(kind: str, server: TlsServer, ours: Tls, stranger: Authority) -> None:
    assert fault(kind, server.url, Tls(stranger.file, ours.certificate_file)) in UNKNOWN


def test_the_systems_authorities_do_not_know_ones_own(kind: str, server: TlsServer) -> None:
    assert fault(kind, server.url, NO_FILES) in UNKNOWN


def test_another_name_is_refused_and_the_answer_does_not_tell_it(kind: str, server: TlsServer, ours: Tls) -> None:
    assert fault(kind, server.url.replace(ADDRESS, "localhost"), ours) == "Hostname mismatch"


def test_an_expired_certificate_is_refused(kind: str, server: TlsServer, ours: Tls, authority: Authority) -> None:
    server.show(authority.sign(expired=True))
    assert fault(kind, server.url, ours) == "certificate has expired"


@pytest.mark.parametrize("kind", ["store", "queue"])  # MinIO asks nobody
def test_a_server_that_asks_for_a_certificate_is_shown_ours(kind: str, server: TlsServer, ours: Tls,
                                                            stranger: Authority) -> None:
    with closing(connect(kind, server.url, Tls(ours.ca_file), FAULT_S)) as without, pytest.raises(Unavailable):
        without.ping()
    strange = Tls(ours.ca_file, stranger.sign("a-stranger"))
    with closing(connect(kind, server.url, strange, FAULT_S)) as wrong, pytest.raises(Unavailable):
        wrong.ping()


def test_content_of_any_size_goes_over_tls(files: TlsServer, ours: Tls, authority: Authority, bucket: str,
                                           tmp_path: Path) -> None:
    """Large objects have connections of their own."""
    files.show(authority.sign())
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * (20 << 12))
    with closing(open_files(files.url, TIMEOUT_S, ours)) as opened:
        stored = opened.upload(source, f"{bucket}/large")
        found = opened.download(f"{bucket}/large", tmp_path / "copy", max_bytes=stored.size_bytes)
    assert found.size_bytes == 20 << 20 and (tmp_path / "copy").read_bytes() == source.read_bytes()


def test_health_names_the_dependency_whose_certificate_is_refused(
        store: TlsServer, queue: TlsServer, files: TlsServer, ours: Tls, authority: Authority, stranger: Authority,
        monkeypatch: pytest.MonkeyPatch) -> None:
    def told_of() -> int:
        """Of how many the answer says why. What has not failed in time is down without a reason."""
        with pytest.raises(Unavailable) as refused:
            check_health()
        return sum(refused.value.en.count(f"(TLS: {told})") for told in UNKNOWN)

    for name, server in (("STORE", store), ("QUEUE", queue), ("FILES", files)):
        server.show(authority.sign())
        monkeypatch.setenv(f"MODEL_CONVERT_{name}_URL", server.url)
    monkeypatch.setenv("MODEL_CONVERT_DEPENDENCY_TIMEOUT_S", str(TIMEOUT_S))
    monkeypatch.setenv("MODEL_CONVERT_CERTIFICATE_FILE", str(ours.certificate_file))
    try:
        monkeypatch.setenv("MODEL_CONVERT_CA_FILE", str(ours.ca_file))
        close_all()
        assert check_health().dependencies.keys() == set(KINDS)

        files.show(authority.sign(expired=True))
        monkeypatch.setenv("MODEL_CONVERT_DEPENDENCY_TIMEOUT_S", str(FAULT_S))
        close_all()
        with pytest.raises(Unavailable, match=r"files down \d+ ms \(TLS: certificate has expired\), "
                                              r"store up .* ms, queue up .* ms"):
            check_health()

        monkeypatch.setenv("MODEL_CONVERT_CA_FILE", str(stranger.file))
        close_all()
        assert any(told_of() == len(KINDS) for _ in range(TRIES))
    finally:
        close_all()
