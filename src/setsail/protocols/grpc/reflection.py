"""Server reflection, v1 and v1alpha: what services there are and the files that describe them, for grpcurl and others.

https://github.com/grpc/grpc/blob/master/doc/server-reflection.md. A question without an answer is answered with an
error response; the stream goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from setsail.catalog import ServerInfo
from setsail.errors import FAMILIES, SetsailError
from setsail.protocols.grpc.method import Exchange, status_of
from setsail.protocols.grpc.pool import FILES, SERVICES, containing, message, parse

__all__ = ["VERSIONS", "fault_renderer", "info"]

VERSIONS: Final = ("v1", "v1alpha")


def info(version: str) -> Callable[[bytes | memoryview], Exchange]:
    """The decoder of one version's `ServerReflectionInfo`."""

    def decode(data: bytes | memoryview) -> Exchange:
        asked = parse(_class(version, "ServerReflectionRequest"), data)
        answer = _response(version, asked)
        question = asked.WhichOneof("message_request")
        if question not in _ANSWERS:
            raise SetsailError("request.form", "the reflection request asks nothing", expected=" or ".join(_ANSWERS))
        try:
            _ANSWERS[question](answer, getattr(asked, question))
        except KeyError:
            _error(answer, FAMILIES["not_found"].grpc, f"nothing is known of {question} {getattr(asked, question)!r}")
        told = answer.SerializeToString()
        return Exchange(ServerInfo(), lambda _: told)

    return decode


def fault_renderer(version: str) -> Callable[[SetsailError, bytes | memoryview], bytes]:
    """How a message that is no question is answered."""

    def render(fault: SetsailError, data: bytes | memoryview) -> bytes:
        answer = _class(version, "ServerReflectionResponse")()
        _error(answer, *status_of(fault))
        told: bytes = answer.SerializeToString()
        return told

    return render


def _class(version: str, name: str) -> Any:
    return message(f"grpc.reflection.{version}.{name}")


def _response(version: str, asked: Any) -> Any:
    answer = _class(version, "ServerReflectionResponse")(valid_host=asked.host)
    answer.original_request.CopyFrom(asked)
    return answer


def _error(answer: Any, code: int, text: str) -> None:
    answer.error_response.error_code = code
    answer.error_response.error_message = text


def _services(answer: Any, _: str) -> None:
    for name in sorted(SERVICES):
        answer.list_services_response.service.add(name=name)


def _files(answer: Any, file: Any) -> None:
    """The file, then what it imports: every client puts them in order itself, but some want the asked one first."""
    for found in _with_imports(file, set()):
        answer.file_descriptor_response.file_descriptor_proto.append(found.SerializeToString())


def _with_imports(file: Any, seen: set[str]) -> Iterator[Any]:
    seen.add(file.name)
    yield file
    for name in file.dependency:
        if name not in seen:
            yield from _with_imports(FILES[name], seen)


def _no_extension(answer: Any, asked: Any) -> None:
    raise KeyError(asked)


def _extension_numbers(answer: Any, name: str) -> None:
    """None of our messages has extensions (proto3)."""
    containing(name)
    answer.all_extension_numbers_response.base_type_name = name


_ANSWERS: Final[Mapping[str, Callable[[Any, Any], None]]] = {
    "list_services": _services,
    "file_by_filename": lambda answer, name: _files(answer, FILES[name]),
    "file_containing_symbol": lambda answer, name: _files(answer, containing(name)),
    "file_containing_extension": _no_extension,
    "all_extension_numbers_of_type": _extension_numbers,
}
