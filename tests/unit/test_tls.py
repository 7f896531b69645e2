"""TLS in the settings, without servers; `contract/test_tls.py` has the handshakes."""
from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import WrongSettings, get_settings, read_settings
from shared.store.mongo import MongoStore
from shared.tls import Tls, find_tls_fault
from tests.fixtures.tls import Authority

URLS = [("STORE", "mongodb://user:hush@db/name?tls=true&{}"), ("QUEUE", "amqps://user:hush@broker/?{}"),
        ("FILES", "minios://user:hush@files:9000?{}")]


@pytest.mark.parametrize("option", [
    "tlsInsecure=true", "tlsInsecure=", "tlsAllowInvalidCertificates=true", "tlsallowinvalidhostnames=1",
    "ssl_options={'cert_reqs':0}", "ssl_cert_reqs=CERT_NONE"])
@pytest.mark.parametrize(("name", "url"), URLS)
def test_no_option_of_a_url_turns_the_check_off(name: str, url: str, option: str,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MODEL_CONVERT_{name}_URL", url.format(option))
    get_settings.cache_clear()
    told = f"MODEL_CONVERT_{name}_URL: {option.partition('=')[0]} would turn the check of certificates off"
    with pytest.raises(WrongSettings, match=told) as refused:
        get_settings()
    assert "hush" not in str(refused.value)


def test_an_option_that_leaves_the_check_on_is_taken() -> None:
    url = URLS[0][1].format("tlsInsecure=false&retryReads=false")
    assert read_settings({"MODEL_CONVERT_STORE_URL": url}).store_url.get_secret_value() == url


@pytest.mark.parametrize("name", ["CA_FILE", "CERTIFICATE_FILE"])
@pytest.mark.parametrize("content", [None, "hush"])
def test_a_file_that_cannot_be_used_is_told_at_the_start(name: str, content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "some.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValidationError, match=f"{path} cannot be used: ") as refused:
        read_settings({f"MODEL_CONVERT_{name}": str(path)})
    assert "hush" not in str(refused.value)


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="certificate_file"):
        read_settings({"MODEL_CONVERT_CERTIFICATE_FILE": str(Authority(tmp_path).file)})


@pytest.mark.parametrize(("url", "speaks_tls"), [
    ("mongodb://db/name", False), ("mongodb://db/name?tls=true", True), ("mongodb://db/name?ssl=true", True),
    ("mongodb://db/?TLS=True&w=1", True), ("mongodb+srv://db.example/name", True),
    ("mongodb+srv://db.example/name?tls=false", False)])
def test_authorities_of_ones_own_turn_tls_to_mongodb_neither_on_nor_off(url: str, speaks_tls: bool,
                                                                        tmp_path: Path) -> None:
    tls = Tls(Authority(tmp_path).file)
    assert MongoStore(url, 1.0, tls=tls)._tls_options() == ({"tlsCAFile": str(tls.ca_file)} if speaks_tls else {})


@pytest.mark.parametrize(("told", "fault"), [
    ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)",
     "certificate has expired"),
    ("db:27017: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: IP address mismatch, certificate is not "
     "valid for '10.0.0.7'. (_ssl.c:1006) (configured timeouts: connectTimeoutMS: 1500.0ms)", "IP address mismatch"),
    ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "wrong version number"),
    ("[SSL] record layer failure (_ssl.c:2580)", "record layer failure"),
    ("[Errno 111] Connection refused", ""), ("", "")])
def test_a_failed_handshake_is_told_in_openssls_words_without_the_servers_name(told: str, fault: str) -> None:
    assert find_tls_fault(told) == fault
    assert find_tls_fault(ConnectionError(told)) == fault
