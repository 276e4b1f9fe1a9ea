"""A line to a server: what a speaker says goes over a real socket, and what is heard comes back."""

from __future__ import annotations

import http.client
from typing import Any

from setsail.tensors import Array
from speakers.speaking import Ask, Heard, Said, Speaker

__all__ = ["Line", "RefusedError"]

SECONDS = 30.0


class RefusedError(Exception):
    """An answer that is a fault."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(f"{heard.status} {heard.code} {heard.body[:500]!r}")
        self.heard = heard


class Line:
    """Connections to one server, kept open.

    Args:
        target: host and port of HTTP; gRPC's, where it has one of its own.
    """

    def __init__(self, target: str, grpc_target: str = "") -> None:
        self.target, self.grpc_target = target, grpc_target or target
        self._http = self.connect()
        self._channel: Any = None

    def close(self) -> None:
        self._http.close()
        if self._channel is not None:
            self._channel.close()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.target, timeout=SECONDS)

    @property
    def channel(self) -> Any:
        import grpc

        if self._channel is None:
            self._channel = grpc.insecure_channel(self.grpc_target, [("grpc.max_receive_message_length", -1)])
        return self._channel

    def call(self, said: Said) -> Heard:
        return self._grpc(said) if said.grpc else self._rest(said)

    def ask(self, speaker: Speaker, asked: Ask) -> dict[str, Array]:
        """Outputs by name. Raises RefusedError."""
        heard = self.call(speaker.say(asked))
        if heard.code or heard.status not in (0, 200):
            raise RefusedError(heard)
        return speaker.hear(asked, heard)

    def _rest(self, said: Said) -> Heard:
        try:
            self._http.request("POST", said.path, said.body, dict(said.headers))
            reply = self._http.getresponse()
        except (http.client.HTTPException, OSError):  # a refusal may close a connection that was kept
            self._http.close()
            self._http.request("POST", said.path, said.body, dict(said.headers))
            reply = self._http.getresponse()
        headers = {name.lower(): value for name, value in reply.getheaders()}
        return Heard(reply.status, headers, reply.read(), headers.get("x-setsail-error", ""))

    def _grpc(self, said: Said) -> Heard:
        import grpc

        try:
            body, call = self.channel.unary_unary(said.path).with_call(said.body, timeout=SECONDS)
        except grpc.RpcError as fault:
            told = dict(fault.trailing_metadata() or ()) | {"grpc-message": fault.details() or ""}
            return Heard(fault.code().value[0], told, b"", told.get("x-setsail-error", "none"))
        return Heard(0, dict(call.trailing_metadata() or ()), body)
