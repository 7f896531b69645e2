"""Where callbacks may go: what is on the public internet, and what the service's own settings name."""
from __future__ import annotations

import ipaddress
import threading
import time

import pytest

from shared.announcements.addresses import LOOKUPS, Refused, is_global, look_up, resolve_by_system
from shared.announcements.allowed import read_allowed
from shared.announcements.urls import read_url
from shared.settings import read_settings
from tests.integration.worker_kit import wait_until

REFUSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.9", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1",
    "2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%1", "2606:4700::1%1", "fec0::1", "ff02::1", "ff0e::1"]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
          "192.0.1.1", "198.17.255.255", "223.255.255.255", "2001:200::1", "2001:4860:4860::8888",
          "2606:4700:4700::1111", "2a00:1450:4001::1", "240e::1"]


def found(url: str, *addresses: str, allow: str = "") -> list[str]:
    settings = read_settings({"MODEL_CONVERT_CALLBACK_ALLOW": allow})
    return [str(address) for address in look_up(read_url(url), settings, time.monotonic() + 120,
                                                lambda _host, _port: list(addresses))]


def problem(url: str, *addresses: str, allow: str = "") -> str:
    with pytest.raises(Refused) as caught:
        found(url, *addresses, allow=allow)
    return caught.value.problem


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_nobodys_on_the_public_internet_is_refused(address: str) -> None:
    assert not is_global(ipaddress.ip_address(address))
    assert problem("https://receiver.example/", address) == "address"


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_on_the_public_internet_may_be_reached(address: str) -> None:
    assert found("https://receiver.example/", address) == [address]


def test_one_address_that_is_refused_refuses_the_name() -> None:
    for addresses in (("8.8.8.8", "10.0.0.1"), ("::1", "8.8.8.8"), ("8.8.8.8", "no address")):
        assert problem("https://receiver.example/", *addresses) == "address"


def test_by_http_only_what_the_settings_name_is_reached() -> None:
    assert problem("http://receiver.example/", "8.8.8.8") == "address"
    assert problem("http://receiver.example/", "8.8.8.8", allow="10.0.0.0/8") == "address"
    assert problem("http://receiver.example/", "10.0.0.1", "8.8.8.8", allow="10.0.0.0/8") == "address"
    assert found("http://receiver.example/", "10.0.0.1", allow="10.0.0.0/8") == ["10.0.0.1"]
    assert found("http://receiver.example:81/", "8.8.8.8", allow="receiver.example:81") == ["8.8.8.8"]


def test_a_network_that_the_settings_name_is_reached_and_none_beside_it() -> None:
    allow = "10.1.0.0/16, fd00:1::/32, 192.168.7.7"
    for address in ("10.1.255.255", "fd00:1::9", "192.168.7.7"):
        assert found("https://receiver.example/", address, "8.8.8.8", allow=allow) == [address, "8.8.8.8"]
    for address in ("10.2.0.0", "fd00:2::9", "192.168.7.8", "::ffff:10.1.0.1", "127.0.0.1"):
        assert problem("https://receiver.example/", address, allow=allow) == "address"


def test_a_named_host_is_reached_at_its_port_only_wherever_it_leads() -> None:
    allow = "Receiver.example:8443,[::1]:9000,127.0.0.1:9000"
    assert found("https://receiver.EXAMPLE:8443/", "127.0.0.1", allow=allow) == ["127.0.0.1"]
    for url in ("https://receiver.example/", "https://other.example:8443/", "https://x.receiver.example:8443/"):
        assert problem(url, "127.0.0.1", allow=allow) == "address"
    assert found("http://[::1]:9000/", "::1", allow=allow) == ["::1"]
    assert found("http://[0:0::1]:9000/", "::1", allow=allow) == ["::1"]
    assert problem("http://127.0.0.1:9001/", "127.0.0.1", allow=allow) == "address"


@pytest.mark.parametrize("entry", ["receiver", "receiver:", ":80", "receiver:0", "receiver:65536", "receiver:http",
                                   "10.0.0.1/8", "10.0.0.0/33", "*", "*:80", "http://receiver:80", "a b:80", "[::1]",
                                   "[10.0.0.1]:80", "例:80"])
def test_an_entry_that_is_neither_a_host_nor_a_network_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="should be HOST:PORT or a network"):
        read_allowed((entry,))


def test_a_name_without_an_address_is_told() -> None:
    assert problem("https://receiver.example/") == "name"


@pytest.mark.parametrize("host", ["127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "localhost",
                                  "[::ffff:7f00:1]", "[::1]"])
def test_no_other_spelling_of_an_inner_address_gets_by_the_systems_own_resolver(host: str) -> None:
    with pytest.raises(Refused) as caught:
        look_up(read_url(f"https://{host}/"), read_settings({}), time.monotonic() + 120, resolve_by_system)
    assert caught.value.problem in ("address", "name")  # libraries differ in which spellings they know


def test_a_resolver_that_does_not_answer_is_left_behind_and_so_many_at_most() -> None:
    settings, target, answers = read_settings({}), read_url("https://receiver.example/"), threading.Event()
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        answers.wait(60)
        return ["8.8.8.8"]

    try:
        for _ in range(LOOKUPS + 3):
            with pytest.raises(TimeoutError):
                look_up(target, settings, time.monotonic() + 0.05, resolve)
        wait_until(lambda: len(asked) >= LOOKUPS)
        assert len(asked) == LOOKUPS
    finally:
        answers.set()
    assert [str(address) for address in look_up(target, settings, time.monotonic() + 120, resolve)] == ["8.8.8.8"]
