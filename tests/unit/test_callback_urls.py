"""What a `callback_url` may be when a task is created: nothing is looked up then."""
from __future__ import annotations

import base64
import socket

import pytest

from shared.announcements.urls import check_callback_url, read_url
from shared.errors import InvalidRequest
from shared.settings import Settings, read_settings

SECRET = f"whsec_{base64.b64encode(b's' * 24).decode()}"


def settings(allow: str = "", secret: str = SECRET) -> Settings:
    return read_settings({"MODEL_CONVERT_CALLBACK_SECRET": secret, "MODEL_CONVERT_CALLBACK_ALLOW": allow})


@pytest.fixture(autouse=True)
def nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)


@pytest.mark.parametrize("url", [
    "https://receiver.example", "https://receiver.example/", "HTTPS://Receiver.Example:8443/a/b?c=d&e=%E4%BE%8B",
    "https://xn--fsq.example/", "https://my_receiver/", "https://8.8.8.8/", "https://[2606:4700:4700::1111]:444/x",
    "https://receiver.example/" + "x" * 2023])
def test_a_public_https_url_is_taken_as_it_is(url: str) -> None:
    assert check_callback_url(url, settings()) == url


@pytest.mark.parametrize(("url", "zh", "en"), [
    ("https://receiver.example/" + "x" * 2024, "超过 2048 个字符", "longer than 2048 characters"),
    ("", "应使用 https", "should be https"), ("receiver.example/hook", "应使用 https", "should be https"),
    ("//receiver.example/", "应使用 https", "should be https"), ("ftp://receiver.example/", "https", "https"),
    ("http://receiver.example/", "应使用 https", "it should be https"), ("file:///etc/passwd", "https", "https"),
    ("https://user@receiver.example/", "用户名", "user's name"), ("https://@a.example/", "用户名", "user's name"),
    ("https://a:b@receiver.example/", "用户名", "user's name"), ("https://receiver.example/#a", "#", "fragment"),
    ("https://receiver.example#", "#", "fragment"), ("https://", "主机名", "host"), ("https:///a", "主机名", "host"),
    ("https://:443/", "主机名", "host"), ("https://receiver.example:0/", "端口", "port"),
    ("https://receiver.example:65536/", "端口", "port"), ("https://receiver.example:/", "端口", "port"),
    ("https://receiver.example:８/", "字符", "characters"), ("https://-a.example/", "主机名", "host"),
    ("https://a..b/", "主机名", "host"), ("https://receiver.example./", "主机名", "host"),
    (f"https://{'a' * 64}.example/", "主机名", "host"), ("https://[::1/", "格式", "malformed"),
    ("https://[fe80::1%25eth0]/", "主机名", "host"), ("https://[8.8.8.8]/", "", "malformed"),
    ("https://%31.example/", "主机名", "host"), ("https://receiver.example\\@x/", "字符", "characters"),
    ("https://receiver.example/a b", "字符", "characters"), (" https://receiver.example/", "字符", "characters"),
    ("https://receiver.example/\r\nX: y", "字符", "characters"), ("https://receiver.example/\t", "字符", "characters"),
    ("https://例子.example/", "xn--", "xn--"), ("https://receiver.example/例", "百分号", "percent-encode"),
    ("https://127.0.0.1/", "127.0.0.1", "must not reach the address 127.0.0.1"), ("https://10.0.0.1/", "", "10.0.0.1"),
    ("https://[::1]/", "::1", "::1"), ("https://[::ffff:8.8.8.8]/", "", "must not reach"),
    ("http://8.8.8.8/", "https", "should be https")])
def test_every_other_url_is_refused_in_both_languages_and_not_repeated(url: str, zh: str, en: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_callback_url(url, settings())
    assert caught.value.zh.startswith("callback_url 无效: ") and zh in caught.value.zh
    assert caught.value.en.startswith("callback_url is invalid: ") and en in caught.value.en
    assert len(url) < 9 or url not in caught.value.en


def test_what_the_settings_name_may_be_called_by_http_and_inside() -> None:
    allow = "receiver:8080,127.0.0.1:9000,10.1.0.0/16"
    for url in ("http://receiver:8080/", "https://receiver:8080/", "http://127.0.0.1:9000/", "http://10.1.2.3:1234/",
                "https://10.1.2.3/"):
        assert check_callback_url(url, settings(allow)) == url
    for url in ("http://127.0.0.1:9001/", "https://127.0.0.1/", "http://10.2.0.1/", "http://8.8.8.8/"):
        with pytest.raises(InvalidRequest):
            check_callback_url(url, settings(allow))


def test_a_name_may_lead_into_an_allowed_network_which_is_seen_when_it_is_called() -> None:
    assert check_callback_url("http://other/", settings("10.1.0.0/16")) == "http://other/"
    with pytest.raises(InvalidRequest, match="https"):
        check_callback_url("http://other/", settings("receiver:8080"))


def test_without_a_secret_no_url_is_taken_and_the_setting_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"^targets\[0\].+MODEL_CONVERT_CALLBACK_SECRET is not set") as caught:
        check_callback_url("https://receiver.example/", settings(secret=""), "targets[0].callback_url")
    assert "MODEL_CONVERT_CALLBACK_SECRET" in caught.value.zh


def test_the_parts_of_a_url() -> None:
    target = read_url("https://Receiver.Example:8443?x=1")
    assert (target.host, target.port, target.path) == ("receiver.example", 8443, "/?x=1")
    assert target.host_header == "receiver.example:8443"
    assert read_url("https://[2606:4700:0::1]/").host_header == "[2606:4700::1]"
    assert read_url("http://receiver.example:443/").host_header == "receiver.example:443"
