"""Server reflection: what a client builds from it is the contract."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from setsail.errors import SetsailError
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.pool import SERVICES, message

every_version = pytest.mark.parametrize("version", ["v1", "v1alpha"])


def ask(version: str, **question: Any) -> Any:
    asked = message(f"grpc.reflection.{version}.ServerReflectionRequest")(host="h", **question)
    row = METHODS[f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"]
    told = row.decode(asked.SerializeToString()).encode(None)
    answer = message(f"grpc.reflection.{version}.ServerReflectionResponse").FromString(told)
    assert answer.original_request == asked
    assert answer.valid_host == "h"
    return answer


@every_version
def test_services_are_listed(version: str) -> None:
    found = [s.name for s in ask(version, list_services="*").list_services_response.service]
    assert found == sorted(SERVICES)


@every_version
@pytest.mark.parametrize(
    "question",
    [
        {"file_containing_symbol": "inference.GRPCInferenceService"},
        {"file_containing_symbol": "inference.GRPCInferenceService.ModelInfer"},
        {"file_by_filename": "inference.proto"},
    ],
)
def test_a_client_can_build_the_service(version: str, question: dict[str, str]) -> None:
    answer = ask(version, **question)
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(f) for f in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert [f.name for f in files] == ["inference.proto", "model_config.proto"]
    pool = descriptor_pool.DescriptorPool()
    for file in reversed(files):
        pool.Add(file)
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    assert len(service.methods) == 20


@every_version
@pytest.mark.parametrize(
    "question",
    [
        {"file_containing_symbol": "nobody.Nothing"},
        {"file_by_filename": "nothing.proto"},
        {"file_containing_extension": {"containing_type": "inference.ModelInferRequest", "extension_number": 100}},
        {"all_extension_numbers_of_type": "nobody.Nothing"},
    ],
)
def test_a_question_without_an_answer_is_answered(version: str, question: dict[str, Any]) -> None:
    error = ask(version, **question).error_response
    assert error.error_code == 5
    assert error.error_message


@every_version
def test_there_are_no_extensions(version: str) -> None:
    answer = ask(version, all_extension_numbers_of_type="inference.ModelInferRequest")
    numbers = answer.all_extension_numbers_response
    assert (numbers.base_type_name, list(numbers.extension_number)) == ("inference.ModelInferRequest", [])


@every_version
@pytest.mark.parametrize(("data", "code"), [(b"", "request.form"), (b"\xff", "request.malformed")])
def test_what_asks_nothing(version: str, data: bytes, code: str) -> None:
    row = METHODS[f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"]
    with pytest.raises(SetsailError) as caught:
        row.decode(data)
    assert caught.value.code == code
    assert row.render_fault is not None
    told = message(f"grpc.reflection.{version}.ServerReflectionResponse").FromString(
        row.render_fault(caught.value, data)
    )
    assert (told.error_response.error_code, told.error_response.error_message) == (3, str(caught.value))
