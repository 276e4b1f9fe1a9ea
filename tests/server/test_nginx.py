"""A real nginx in front of the server, and the hostile bytes through it: one request in never becomes two behind.

nginx gives each request that it passes on an id of its own and logs it; the server must see those ids, each once, and
nothing else. All requests share one connection between the two, so a body that one of them reads differently would put
every later answer out of step.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import http1
import pytest
from http1_wire import connect, exchange, read_replies

from setsail.server.connection import Connection
from setsail.server.run import Server
from setsail.server.settings import Settings

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx-light)")

# Buffered, nginx reads a body whole and sends it with a length; unbuffered, chunks go on as chunks.
CONFIG = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 256; }}
http {{
  log_format ids '$request_id $upstream_status';
  access_log {folder}/access.log ids;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 0; client_body_timeout 2s; client_header_timeout 2s; underscores_in_headers on;
  upstream setsail {{ server {backend}; keepalive 1; }}
  proxy_pass_request_headers on; proxy_http_version 1.1; proxy_next_upstream off;
  proxy_set_header Connection ""; proxy_set_header X-Via $request_id;
  server {{ listen 127.0.0.1:{buffered}; location / {{ proxy_pass http://setsail; }} }}
  server {{ listen 127.0.0.1:{unbuffered}; location / {{ proxy_pass http://setsail; proxy_request_buffering off; }} }}
}}
"""


@dataclass
class Chain:
    """nginx and what is behind it: its two ports, its log, and what arrived at the server: connections and ids."""

    ports: dict[str, int]
    log: Path
    arrived: list[tuple[int, str | None]]

    def logged(self) -> Counter[str]:
        """Ids of the requests that nginx has passed on."""
        return Counter(line.split()[0] for line in self.log.read_text().splitlines() if not line.endswith(" -"))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("nginx")
    arrived: list[tuple[int, str | None]] = []
    begin = Connection._begin

    def watched(self, message) -> None:
        arrived.append((id(self), message.head.headers.get("x-via")))
        begin(self, message)

    with pytest.MonkeyPatch.context() as patch, Server(Settings(port=0, admin_port=-1)) as server:
        patch.setattr(Connection, "_begin", watched)
        server.start()
        ports = {"buffered": free_port(), "unbuffered": free_port()}
        user = pwd.getpwuid(os.getuid()).pw_name
        (folder / "nginx.conf").write_text(CONFIG.format(
            folder=folder, backend=server.url.removeprefix("http://"), user=f"user {user};" if os.getuid() == 0 else "",
            **ports,
        ))  # fmt: skip
        nginx = subprocess.Popen([NGINX, "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
        try:
            for port in ports.values():
                wait_for(port)
            yield Chain(ports, folder / "access.log", arrived)
        finally:
            nginx.terminate()
            nginx.wait(10)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            connect(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < end, "nginx does not come up"
            time.sleep(0.02)


def in_step(port: int, number: int) -> bool:
    """Whether the next request gets its own answer."""
    path = f"/check-{number}".encode()
    with connect(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % path)
        replies, _ = read_replies(sock, 1, quiet=5)
    return len(replies) == 1 and replies[0].status == 404 and path in replies[0].body


@pytest.mark.parametrize("mode", ["buffered", "unbuffered"])
def test_hostile_bytes_through_a_proxy(chain: Chain, mode: str) -> None:
    port = chain.ports[mode]
    out_of_step = []
    for number, (name, attack) in enumerate(http1.ATTACKS.items()):
        raw = attack.raw.replace(b"/seen", b"/v2/models/seen/infer")
        exchange(("127.0.0.1", port), raw, quiet=0.05)
        if not in_step(port, number):
            out_of_step.append(name)
    assert out_of_step == []
    time.sleep(0.3)  # for the log
    arrived, logged = Counter(via for _, via in chain.arrived), chain.logged()
    shared = Counter(connection for connection, _ in chain.arrived)
    assert max(shared.values()) > 20, "the connection between the two is not shared"
    assert len(arrived) > len(http1.ATTACKS), "nginx has passed on nothing but the questions in between"
    assert None not in arrived, "a request came to light that nginx never saw"
    assert [via for via, times in arrived.items() if times > 1] == []
    assert arrived.keys() - logged.keys() == set()


@pytest.mark.parametrize("mode", ["buffered", "unbuffered"])
def test_bodies_through_a_proxy(chain: Chain, mode: str) -> None:
    """Large and small, with a length and in chunks, one after another on one connection."""
    address = ("127.0.0.1", chain.ports[mode])
    head = b"POST /v2/models/seen/infer HTTP/1.1\r\nHost: h\r\n"
    with connect(address) as sock:
        for size in (3, 70_000, 3_000_000, 0, 1_000_000):
            body = b"x" * size
            sock.sendall(head + b"Content-Length: %d\r\n\r\n" % size + body)
            sock.sendall(
                head + http1.CHUNKED + b"\r\n\r\n" + (b"%x\r\n%b\r\n" % (size, body) if size else b"") + b"0\r\n\r\n"
            )
            replies, closed = read_replies(sock, 2)
            assert not closed
            assert [reply.code is not None for reply in replies] == [True, True]
    assert in_step(address[1], 0)
