"""The state table as data: what each transition gives, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.catalog import STATES
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.serving.leases import Facts, Loaded
from setsail.serving.table import GONE_KEPT, Table


class NoRunner:
    signature: Any = None
    max_batch = None

    def run(self, inputs: Any) -> Any:
        raise AssertionError("not here")

    def close(self) -> None: ...


def loaded() -> Loaded:
    return Loaded(NoRunner(), Facts("none", {}, "onnx", ""))


def ready(table: Table, name: str, version: int) -> Table:
    table = table.queued(name, version).moved(name, version, "loading").moved(name, version, "warming")
    return table.moved(name, version, "ready", loaded=loaded())


def code(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(SetsailError) as caught:
        call(*arguments, **named)
    return caught.value.code


def test_the_default_is_the_highest_ready_version() -> None:
    table = ready(ready(Table(), "m", 2), "m", 10).queued("m", 11)
    assert table.find(ModelRef("m")).version == 10
    table = table.moved("m", 10, "draining")
    assert table.find(ModelRef("m")).version == 2


def test_a_transition_leaves_the_old_table_as_it_was() -> None:
    before = ready(Table(), "m", 1)
    after = before.moved("m", 1, "draining")
    assert before.find(ModelRef("m")).state == "ready"
    assert code(after.find, ModelRef("m")) == "model.not_ready"
    with pytest.raises(AttributeError):
        before.models = {}  # type: ignore[misc]


@pytest.mark.parametrize("start", STATES)
@pytest.mark.parametrize("target", STATES)
def test_a_version_moves_only_along_the_states(start: str, target: str) -> None:
    way = {
        "queued": (), "loading": ("loading",), "warming": ("loading", "warming"),
        "ready": ("loading", "warming", "ready"), "draining": ("loading", "warming", "ready", "draining"),
        "gone": ("gone",), "failed": ("loading", "failed"), "parked": ("gone", "parked"),
        "restarting": ("loading", "warming", "ready", "restarting"),
    }  # fmt: skip
    table = Table().queued("m", 1)
    for state in way[start]:
        table = table.moved("m", 1, state)
    if target in STATES[start].next:
        moved = table.moved("m", 1, target).get("m", 1)
        assert moved is not None
        assert moved.state == target
    else:
        assert code(table.moved, "m", 1, target) == "model.not_ready"


def test_what_a_client_means_and_cannot_have() -> None:
    table = ready(Table(), "m", 1).queued("m", 2).moved("m", 2, "loading").moved("m", 2, "failed", reason="no")
    table = table.queued("new", 1)
    assert code(table.find, ModelRef("other")) == "model.unknown"
    assert code(table.find, ModelRef("m", 3)) == "model.version"
    assert code(table.find, ModelRef("m", 2)) == "model.failed"
    assert code(table.find, ModelRef("m", label="stable")) == "model.label"
    assert code(table.find, ModelRef("new")) == "model.not_ready"
    assert code(table.moved, "m", 9, "gone") == "model.version"
    assert code(table.labelled, "m", "stable", 9) == "model.version"
    assert code(table.status, ModelRef("m", 9)) == "model.version"


def test_a_model_that_only_failed_says_so_and_keeps_the_reason_from_clients() -> None:
    table = Table().queued("m", 1).moved("m", 1, "loading").moved("m", 1, "failed", reason="in /a/folder")
    with pytest.raises(SetsailError) as caught:
        table.find(ModelRef("m"))
    assert caught.value.code == "model.failed"
    assert "/a/folder" not in str(caught.value)
    assert table.status(ModelRef("m"))[0].reason == "in /a/folder"


def test_labels_point_at_versions() -> None:
    table = ready(ready(Table(), "m", 1), "m", 2).labelled("m", "stable", 1)
    assert table.find(ModelRef("m", label="stable")).version == 1
    assert [(s.version, s.labels, s.default) for s in table.status(ModelRef("m"))] == [
        (1, ("stable",), False),
        (2, (), True),
    ]
    table = table.labelled("m", "stable", 2)
    assert table.find(ModelRef("m", label="stable")).version == 2
    assert code(table.labelled("m", "stable", None).find, ModelRef("m", label="stable")) == "model.label"


def test_only_the_newest_unloaded_versions_stay_visible() -> None:
    table = Table()
    for version in range(1, 30):
        table = table.queued("m", version).moved("m", version, "gone")
    assert [s.version for s in table.status(ModelRef("m"))] == list(range(30 - GONE_KEPT, 30))


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(list(STATES))), max_size=40))
def test_the_default_is_right_after_any_history(history: list[tuple[int, str]]) -> None:
    table = Table()
    for version, state in history:
        try:
            table = table.queued("m", version) if table.get("m", version) is None else table.moved("m", version, state)
        except SetsailError as fault:
            assert fault.code == "model.not_ready"  # noqa: PT017
    versions = table.models["m"] if history else None
    if versions is not None:
        assert versions.default == max((v for v, e in versions.entries.items() if e.ready), default=None)
