"""The contracts: our .proto files, what was compiled of them, and the definitions of others."""

from __future__ import annotations

import importlib
import re
import runpy
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from setsail.errors import SetsailError
from setsail.protocols.grpc import pool

PROTOS = Path(pool.__file__).with_name("proto")
SCRIPT = Path(__file__).parents[3] / "scripts/protos.py"
FIELD = re.compile(r"^\s*(?:repeated )?(?:map<[\w.]+, [\w.]+>|[\w.]+) (\w+) = (\d+);")


def test_the_compiled_set_is_what_the_files_say() -> None:
    pytest.importorskip("grpc_tools", reason="protoc is not a dependency of ours")
    assert runpy.run_path(str(SCRIPT))["compiled"]() == (PROTOS / "contracts.binpb").read_bytes()


def test_every_field_of_the_files_is_in_the_compiled_set() -> None:
    """Where there is no protoc: names and numbers, read from the text."""
    for path in PROTOS.glob("*.proto"):
        lines = path.read_text(encoding="utf-8").splitlines()
        written = sorted((m[1], int(m[2])) for line in lines if (m := FIELD.match(line)) and "reserved" not in line)
        assert written == sorted(fields_of(pool.FILES[path.name].message_type)), path.name


def fields_of(messages: Any) -> list[tuple[str, int]]:
    found = []
    for kind in messages:
        if not kind.options.map_entry:
            found += [(field.name, field.number) for field in kind.field]
        found += fields_of(kind.nested_type)
    return found


def test_the_files_are_installed_with_the_package() -> None:
    names = {entry.name for entry in resources.files("setsail.protocols.grpc").joinpath("proto").iterdir()}
    assert names >= {"contracts.binpb", "inference.proto", "model_config.proto", "health.proto"}


@pytest.mark.parametrize("name", ["service_pb2", "model_config_pb2"])
def test_names_numbers_and_types_are_those_of_tritons_client(name: str) -> None:
    """Both definitions are alive in this process, each in its own pool."""
    pytest.importorskip("tritonclient.grpc")
    theirs = importlib.import_module(f"tritonclient.grpc.{name}").DESCRIPTOR.message_types_by_name
    ours = {n: m for f in ("inference.proto", "model_config.proto") for n, m in kinds(pool.FILES[f]).items()}
    shared = set(ours) & set(theirs)
    assert len(shared) > (40 if name == "service_pb2" else 3)
    for kind in shared:
        compare(ours[kind], theirs[kind])
    if name == "service_pb2":
        assert set(ours) >= set(theirs), "the service is not whole"


def kinds(file: Any) -> dict[str, Any]:
    return {m.name: pool.message(f"{file.package}.{m.name}").DESCRIPTOR for m in file.message_type}


def compare(ours: Any, theirs: Any) -> None:
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        assert (field.number, field.type, repeated(field)) == (other.number, other.type, repeated(other)), field
        if field.message_type is not None:
            assert field.message_type.name == other.message_type.name
        if field.enum_type is not None:
            assert {v.name: v.number for v in field.enum_type.values} == {
                v.name: v.number for v in other.enum_type.values
            }
    for nested in ours.nested_types:
        compare(nested, theirs.nested_types_by_name[nested.name])


def repeated(field: Any) -> bool:
    """`label` is gone in protobuf 7, `is_repeated` not yet there in 5."""
    return bool(field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED)


def test_every_method_of_tritons_service_is_there() -> None:
    pytest.importorskip("tritonclient.grpc")
    service_pb2 = importlib.import_module("tritonclient.grpc.service_pb2")
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    (ours,) = pool.FILES["inference.proto"].service
    assert {m.name: (m.client_streaming, m.server_streaming) for m in ours.method} == {
        m.name: (m.client_streaming, m.server_streaming) for m in theirs
    }


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(SetsailError) as caught:
        pool.parse(pool.message("inference.ModelInferRequest"), b"\x0a\xff")
    assert caught.value.code == "request.malformed"
    assert "inference.ModelInferRequest" in str(caught.value)


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("inference.ModelInferRequest.InferInputTensor", "inference.proto"),
        ("inference.GRPCInferenceService", "inference.proto"),
        ("inference.GRPCInferenceService.ModelInfer", "inference.proto"),
        ("inference.DataType", "model_config.proto"),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", "health.proto"),
    ],
)
def test_the_file_of_a_symbol(symbol: str, file: str) -> None:
    assert pool.containing(symbol).name == file


@pytest.mark.parametrize("symbol", ["nobody", "inference.GRPCInferenceService.Nothing", ""])
def test_a_symbol_that_nobody_defines(symbol: str) -> None:
    with pytest.raises(KeyError):
        pool.containing(symbol)
