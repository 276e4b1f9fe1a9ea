"""The HTTP ceiling of Python: a bare asyncio protocol, httptools and uvloop; it reads a body and answers a constant."""

import asyncio
import os
import socket

import httptools
import uvloop

BODY = b'{"model": "iris", "version": 1, "outputs": {"probabilities": [[0.9815794, 0.01842055, 1.4595696e-08]]}}'
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.chunks = []

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_body(self, body):
        self.chunks.append(body)

    def on_message_complete(self):
        self.chunks.clear()
        self.transport.write(REPLY)


async def serve():
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", int(os.environ["PORT"])))
    server = await asyncio.get_running_loop().create_server(Echo, sock=listening, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    from processes_of import run

    run(lambda: uvloop.run(serve()))
