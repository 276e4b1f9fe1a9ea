"""Which operators a SavedModel uses, read without TensorFlow, from protobufs written by hand."""

from contextlib import suppress
from pathlib import Path

import pytest
from saved_models import function, graph, node, saved_model

from setsail.convert import recognise
from setsail.convert.tensorflow.graph_operators import HARMLESS, findings
from setsail.errors import SetsailError


def scan(tmp_path: Path, data: bytes) -> tuple[str, ...]:
    (tmp_path / "saved_model.pb").write_bytes(data)
    return findings(tmp_path / "saved_model.pb")


def test_arithmetic_is_harmless(tmp_path: Path) -> None:
    data = saved_model(graph(node("MatMul"), node("Relu"), functions=[function("f", node("StatefulPartitionedCall"))]))
    assert scan(tmp_path, data) == ()
    found = recognise(tmp_path)
    assert (found.format, found.framework, found.trust) == ("saved-model", "tensorflow", None)


REACHING = (
    "ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "EagerPyFunc", "PrintV2", "InitializeTableFromTextFileV2",
    "TFRecordDataset", "DebugIdentityV2", "ImmutableConst", "RpcCall", "XlaCustomCallV2", "NeverHeardOf", "\u0410dd",
)  # fmt: skip


@pytest.mark.parametrize("op", REACHING)
def test_an_operator_that_reaches_out_asks_for_trust_wherever_it_stands(op: str, tmp_path: Path) -> None:
    places = (
        graph(node("Add"), node(op)),
        graph(functions=[function("f", node("Add"), node(op))]),
        graph(functions=[function("f"), function("__inference__traced_save_1", node(op), arguments=1)]),
    )
    for place in places:
        assert scan(tmp_path, saved_model(place)) == (op,)
    assert scan(tmp_path, saved_model(graph(node("Add")), places[0])) == (op,), "in a second graph"
    found = recognise(tmp_path)
    assert (found.format, found.trust) == ("saved-model-code", "pickle")
    assert op in str(found.findings)


def test_saving_is_for_the_functions_that_save(tmp_path: Path) -> None:
    saver = function("__inference__traced_save_12", node("SaveV2"), node("ShardedFilename"), arguments=1)
    assert scan(tmp_path, saved_model(graph(node("RestoreV2"), functions=[saver]))) == ()
    for liar in (
        function("serve", node("SaveV2"), arguments=1),
        function("__inference__traced_save_12", node("SaveV2")),  # takes no place to write to
        function("", node("RestoreV2"), arguments=1),
    ):
        assert scan(tmp_path, saved_model(graph(functions=[liar]))) in (("SaveV2",), ("RestoreV2",))


def test_what_protobuf_would_merge_or_overwrite_counts_all(tmp_path: Path) -> None:
    two_names = node("ReadFile", "Add")  # the last one holds for TensorFlow
    assert scan(tmp_path, saved_model(graph(two_names))) == ("ReadFile",)
    assert scan(tmp_path, saved_model(graph(node("Add")) + graph(node("WriteFile")))) == ("WriteFile",)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x08", b"\x12\xff", b"\x12\x05abc", b"\x0b\x0c", b"\x08" + b"\xff" * 11, b"\x08\x01"],
    ids=["empty", "cut-number", "cut-length", "short", "group", "endless-number", "no-graph"],
)
def test_what_is_no_saved_model_is_damage(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        scan(tmp_path, data)
    assert caught.value.code == "source.damaged"


def test_every_prefix_is_read_or_refused(tmp_path: Path) -> None:
    data = saved_model(graph(node("Add"), functions=[function("f", node("Mul"), arguments=1)]))
    for length in range(len(data)):
        with suppress(SetsailError):  # any other exception fails
            assert scan(tmp_path, data[:length]) == ()


@pytest.mark.parametrize("other", ["saved_model.pbtxt", "saved_model.cpb"])
def test_other_spellings_of_the_graph_are_refused(other: str, tmp_path: Path) -> None:
    """TensorFlow reads `.cpb` before `.pb`: what was scanned would not be what is loaded."""
    (tmp_path / "saved_model.pb").write_bytes(saved_model(graph(node("Add"))))
    (tmp_path / other).write_bytes(b"x")
    with pytest.raises(SetsailError) as caught:
        recognise(tmp_path)
    assert caught.value.code == "source.unknown"
    assert other in str(caught.value)


def test_the_list_holds_no_operator_that_is_known_to_reach_out() -> None:
    words = (
        "File",
        "Dataset",
        "Reader",
        "Py",
        "Print",
        "Save",
        "Restore",
        "Rpc",
        "Summary",
        "Queue",
        "Iterator",
        "Debug",
    )
    assert [op for op in HARMLESS if any(word in op for word in words)] == []
