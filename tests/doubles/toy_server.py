"""A server that answers as it is told, on a thread of its own: what a client does about it is seen from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Answering", "reply", "toy"]

# (how many requests there were before, the request's head, its body) -> the answer's bytes, and seconds to wait first;
# None closes the connection
Answering = Callable[[int, str, bytes], tuple[bytes, float] | None]


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


@contextmanager
def toy(answering: Answering) -> Iterator[int]:
    """Serve on a free port, whose number is given."""
    ready, place = threading.Event(), {}
    loop = asyncio.new_event_loop()
    asked = iter(range(1 << 60))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lengths = [line for line in head.split("\r\n") if line.lower().startswith("content-length:")]
                body = await reader.readexactly(int(lengths[0].partition(":")[2]) if lengths else 0)
                answer = answering(next(asked), head, body)
                if answer is None:
                    return
                await asyncio.sleep(answer[1])
                writer.write(answer[0])
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        place["port"], place["stop"] = server.sockets[0].getsockname()[1], asyncio.Event()
        ready.set()
        await place["stop"].wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert ready.wait(10)
    try:
        yield place["port"]
    finally:
        loop.call_soon_threadsafe(place["stop"].set)
        thread.join(10)
        loop.close()
