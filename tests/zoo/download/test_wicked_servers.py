"""Servers that break the protocol to hold up, fill or crash the program: the next mirror is asked, and soon."""

from __future__ import annotations

import time

import pytest

from tests.zoo.download.conftest import CONTENT, SHA256
from tests.zoo.download.server import endless, raw, status
from zoo.download import mirror_status, request
from zoo.download.fetch_file import obtain
from zoo.download.remote_file import RemoteFile
from zoo.errors import FetchError, UsageError

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def found(place, length=0):
    return b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: %d\r\n\r\n" % (place, length)


WICKED = {
    "a status line, letter by letter": endless(b"HTTP/1.1 200 ", b"x"),
    "a header, letter by letter": endless(OK, b"x"),
    "promises without an end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a chunk's size, digit by digit": endless(CHUNKED, b"0"),
    "a chunk now and then": endless(CHUNKED, b"1\r\nx\r\n"),
    "a body, byte by byte": endless(OK + b"Content-Length: 700000\r\n\r\n", b"x"),
    "a redirect to itself": raw(found(b"/bad")),
    "a redirect to a file": raw(found(b"file:///etc/passwd")),
    "a redirect to half an address": raw(found(b"http://[bad/x")),
    "a redirect to no name": raw(found(b"http://.bad..host/")),
    "a redirect to no port": raw(found(b"http://127.0.0.1:99999/")),
    "a redirect to no text": raw(found(b"http://\xff\xfe\x80/")),
    "a redirect to nowhere": raw(found(b"")),
    "garbage": raw(b"\0\1\2\r\n\r\n"),
    "no header": raw(CONTENT[:1000]),
    "a long status line": raw(b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n"),
    "many headers": raw(OK + b"a: b\r\n" * 500 + b"\r\n"),
    "two lengths": raw(OK + b"Content-Length: 5\r\nContent-Length: 700000\r\n\r\n", CONTENT),
    "a chunk of no size": raw(CHUNKED + b"zz\r\nabc\r\n"),
    "nothing": raw(),
    "a pause without an end": status(503, Retry_After="inf"),
    "a pause until the end of time": status(503, Retry_After="Fri, 31 Dec 9999 23:59:59 -2400"),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch, waits):
    monkeypatch.setattr(request, "CONNECT_TIMEOUT", 0.5)


@pytest.mark.parametrize("name", WICKED)
def test_a_wicked_server_ends_in_the_next_mirror(name, server):
    server.behaviors["/bad"] = [WICKED[name]]
    began = time.monotonic()
    remote = RemoteFile("models/file.pth", (server.url("/bad"), server.url()), SHA256[:8])
    assert obtain(remote).read_bytes() == CONTENT
    assert time.monotonic() - began < 15  # `endless` goes on for 20 seconds


@pytest.mark.parametrize("name", [name for name in WICKED if "body" not in name and "chunk" not in name])
def test_a_mirror_check_outlives_wicked_servers(name, server, monkeypatch):
    server.behaviors["/bad"] = [WICKED[name]]
    response, _ = mirror_status.head(server.url("/bad"))
    assert not response.served


def test_the_body_of_a_redirect_is_not_read(server):
    server.behaviors["/moved"] = [endless(found(b"/file.pth", 10**12), bytes(10_000), pause=0)]
    assert obtain(RemoteFile("models/file.pth", (server.url("/moved"),), SHA256[:8])).read_bytes() == CONTENT


def test_a_length_of_many_digits_counts_as_none(server):
    server.behaviors["/file.pth"] = [raw(OK + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n", CONTENT)]
    assert obtain(RemoteFile("models/file.pth", (server.url(),), SHA256[:8])).read_bytes() == CONTENT


def test_only_a_proper_tag_is_sent_back(server):
    head = OK + b'ETag: \x0c"x"\r\nContent-Length: 700000\r\n\r\n'
    server.behaviors["/file.pth"] = [raw(head, CONTENT[:1000]), raw(head, CONTENT)]
    assert obtain(RemoteFile("models/file.pth", (server.url(),), SHA256[:8])).read_bytes() == CONTENT
    assert "Range" not in server.gets()[1]


@pytest.mark.parametrize(
    ("mirror", "said"), [("http://[bad", "is not an address"), ("http://127.0.0.1:x", "not a valid address")]
)
def test_an_address_of_the_users_that_is_none_is_told(mirror, said):
    with pytest.raises((FetchError, UsageError), match=said):
        obtain(RemoteFile("models/file.pth", (), SHA256[:8]), mirrors=[mirror])
