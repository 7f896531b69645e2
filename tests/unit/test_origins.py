"""Which Host and Origin a request may have, and what a page of another host gets to read."""
from __future__ import annotations

from collections.abc import Iterator

import flask
import pytest
from pydantic import ValidationError
from werkzeug.test import EnvironBuilder

from shared.api.origins import check_host, check_origin, share_with_origin
from shared.errors import Forbidden
from shared.settings import get_settings, read_settings

PAGE = "https://console.example.com"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    get_settings.cache_clear()
    yield monkeypatch
    get_settings.cache_clear()


def make_request(host: str | None = "127.0.0.1:8000", *, at: str = "127.0.0.1", method: str = "POST",
                 origin: str | None = None, **environ: str) -> flask.Request:
    made = EnvironBuilder(method=method, path="/tasks/create").get_environ() | {"SERVER_NAME": at} | environ
    made.pop("HTTP_HOST")
    made |= {} if host is None else {"HTTP_HOST": host}
    made |= {} if origin is None else {"HTTP_ORIGIN": origin}
    return flask.Request(made)


def takes_host(host: str | None, at: str = "127.0.0.1") -> bool:
    try:
        check_host(make_request(host, at=at))
    except Forbidden as refused:
        assert "MODEL_CONVERT_HOSTS" in refused.zh and "MODEL_CONVERT_HOSTS" in refused.en
        return False
    return True


@pytest.mark.parametrize("at", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost"])
@pytest.mark.parametrize("host", ["127.0.0.1:8000", "127.0.0.1", "127.8.9.1:1", "localhost", "LocalHost:8000",
                                  "localhost.", "here.localhost:80", "[::1]:8000", "[::1]", None, ""])
def test_on_loopback_its_own_names_are_taken(host: str | None, at: str) -> None:
    assert takes_host(host, at)


@pytest.mark.parametrize("host", [
    "evil.example:8000", "evil.example", "10.0.0.1", "0.0.0.0:8000", "[::]", "[2001:db8::1]:80", "notlocalhost",
    "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1,evil.example", "evil.example,127.0.0.1",
    "127.0.0.1@evil.example",
    "127.0.0.1:8000:1", "127.0.0.1 ", "[::1", "2130706433", "0x7f000001", ".", ":8000", "\xff", "１２７.0.0.1"])
def test_on_loopback_no_other_name_is(host: str) -> None:
    assert not takes_host(host)


def test_elsewhere_any_name_is_taken_until_the_settings_list_them(settings: pytest.MonkeyPatch) -> None:
    assert takes_host("service.example", at="10.0.0.7")
    settings.setenv("MODEL_CONVERT_HOSTS", "service.example,[2001:db8::7]")
    get_settings.cache_clear()
    assert takes_host("Service.Example:8443", at="10.0.0.7") and takes_host("[2001:DB8::7]:80", at="10.0.0.7")
    assert not takes_host("evil.example", at="10.0.0.7") and not takes_host("localhost", at="10.0.0.7")
    assert takes_host("service.example") and takes_host("localhost:8000") and not takes_host("evil.example")


def test_the_name_in_public_url_is_one_of_the_services(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("MODEL_CONVERT_PUBLIC_URL", "https://convert.example:8443/api")
    get_settings.cache_clear()
    assert takes_host("convert.example") and not takes_host("evil.example")
    check_origin(make_request(origin="https://convert.example:8443"))
    with pytest.raises(Forbidden):
        check_origin(make_request(origin="https://convert.example"))


@pytest.mark.parametrize(("host", "origin"), [
    ("127.0.0.1:8000", "http://127.0.0.1:8000"), ("localhost", "http://localhost"), ("localhost:80", "http://localhost"),
    ("service.example", "https://service.example"), ("service.example:443", "https://service.example"),
    ("Service.Example", "https://service.example"), ("[::1]:8000", "http://[::1]:8000"), ("127.0.0.1:8000", None)])
def test_a_page_of_the_same_host_and_a_program_may_change_something(host: str, origin: str | None) -> None:
    check_origin(make_request(host, origin=origin))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("origin", [
    PAGE, "http://127.0.0.1:3000", "http://localhost:8000", "null", "", "https://127.0.0.1", "http://127.0.0.1:8000, x",
    "http://127.0.0.1:8000/", "ftp://127.0.0.1:8000", "127.0.0.1:8000", "http://x@127.0.0.1:8000"])
def test_a_page_of_another_host_may_not(method: str, origin: str) -> None:
    with pytest.raises(Forbidden, match="MODEL_CONVERT_CORS_ORIGINS"):
        check_origin(make_request(method=method, origin=origin))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_is_left_to_the_browser(method: str) -> None:
    check_origin(make_request(method=method, origin=PAGE))


def answered(settings: pytest.MonkeyPatch, origin: str | None, allowed: str = PAGE, method: str = "POST",
             **environ: str) -> flask.Response:
    settings.setenv("MODEL_CONVERT_CORS_ORIGINS", allowed)
    get_settings.cache_clear()
    response = flask.Response(headers={"Vary": "Accept-Language", "Allow": "POST, OPTIONS"})
    share_with_origin(response, make_request(method=method, origin=origin, **environ))
    return response


def test_a_page_that_the_settings_name_may_change_something_and_read_the_answer(settings: pytest.MonkeyPatch) -> None:
    response = answered(settings, PAGE, f"https://other.example,{PAGE}")
    check_origin(make_request(origin=PAGE))
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert {"Retry-After", "X-Request-Id", "ETag"} <= set(response.headers["Access-Control-Expose-Headers"].split(", "))
    assert set(response.vary) == {"Accept-Language", "Origin"}
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "Access-Control-Allow-Methods" not in response.headers


def test_a_preflight_is_told_the_methods_and_the_headers(settings: pytest.MonkeyPatch) -> None:
    response = answered(settings, PAGE, method="OPTIONS", HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST")
    assert response.headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
    assert {"Authorization", "Content-Type"} <= set(response.headers["Access-Control-Allow-Headers"].split(", "))
    assert int(response.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://console.example.com",
                                    f"{PAGE}.evil.example", f"{PAGE}:8443", f"{PAGE}/"])
def test_nobody_else_may_read_it_and_a_cache_knows(origin: str | None, settings: pytest.MonkeyPatch) -> None:
    response = answered(settings, origin, method="OPTIONS", HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST")
    assert [name for name, _ in response.headers if name.startswith("Access-Control")] == []
    assert "Origin" in response.vary


def test_without_the_setting_nothing_is_said(settings: pytest.MonkeyPatch) -> None:
    response = answered(settings, PAGE, allowed="")
    assert [name for name, _ in response.headers if name.startswith("Access-Control")] == []
    assert set(response.vary) == {"Accept-Language"}


@pytest.mark.parametrize("wrong", ["*", "console.example.com", "https://console.example.com/", "https://*.example.com",
                                   "ftp://console.example.com", "https://Console.example.com", "null"])
def test_an_origin_that_no_browser_sends_and_a_wildcard_are_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="cors_origins"):
        read_settings({"MODEL_CONVERT_CORS_ORIGINS": wrong})


@pytest.mark.parametrize("wrong", ["*", "service.example:8000", "https://service.example", "a b"])
def test_a_name_that_no_host_has_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="hosts"):
        read_settings({"MODEL_CONVERT_HOSTS": wrong})
