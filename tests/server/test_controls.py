"""The log of changes that a new worker does again: in order, and no longer than it must be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from setsail.server.controls import Controls, Said


def log(*notes: tuple[str, str] | tuple[str, str, bool]) -> list[str]:
    """Kinds and subjects that are left of these; the third says whether an Unregister lasts."""
    controls = Controls()
    for kind, subject, *lasting in notes:
        controls.note(Said(kind, b"", subject), lasting=all(lasting))
    return [f"{said.kind} {said.subject}".strip() for said in controls.replay()]


def test_changes_are_done_again_in_their_order() -> None:
    assert log(("Register", "m/1"), ("Register", "m/2"), ("SetDefault", "m/1")) == [
        "Register m/1", "Register m/2", "SetDefault m/1",
    ]  # fmt: skip


def test_the_last_of_a_kind_counts() -> None:
    assert log(("Load", "m"), ("Unload", "m"), ("Load", "n")) == ["Unload m", "Load n"]
    assert log(("SetDefault", "m/1"), ("Scale", "m/1"), ("SetDefault", "m/2")) == ["Scale m/1", "SetDefault m/2"]
    assert log(("Configure", ""), ("Load", "m"), ("Configure", "")) == ["Load m", "Configure"]


def test_what_came_and_went_leaves_nothing() -> None:
    assert log(("Register", "m/1"), ("Scale", "m/1"), ("SetDefault", "m/1"), ("Unregister", "m/1", False)) == []
    assert log(("Register", "m/1"), ("Register", "m/2"), ("Load", "m"), ("Unregister", "m", False)) == []
    assert log(("Register", "m/1"), ("Register", "m/2"), ("Unregister", "m/1", False)) == ["Register m/2"]


def test_a_model_of_the_start_is_unregistered_again_and_so_is_what_came_after() -> None:
    gone = ("Unregister", "m/1", True)
    assert log(gone) == ["Unregister m/1"]
    assert log(gone, ("Register", "m/1")) == ["Unregister m/1", "Register m/1"]
    assert log(gone, ("Register", "m/1"), ("Unregister", "m/1", False)) == ["Unregister m/1"]
    assert log(("Scale", "m/1"), gone, gone) == ["Unregister m/1"]


def test_of_a_models_routes_the_last_is_put_again() -> None:
    assert log(("PutRoute", "m"), ("PutRoute", "n"), ("PutRoute", "m")) == ["PutRoute n", "PutRoute m"]
    assert log(("PutRoute", "m"), ("Unregister", "m/1", False)) == ["PutRoute m"]
    assert log(("PutRoute", "m"), ("Unregister", "m", False)) == []


def test_only_changes_are_logged() -> None:
    assert Controls.changes("Register")
    assert not Controls.changes("Locate")
    assert not Controls.changes("Describe")


KINDS = st.sampled_from(["Load", "Unload", "Register", "Unregister", "SetDefault", "Scale", "Configure"])


@given(st.lists(st.tuples(KINDS, st.sampled_from(["m/1", "m/2", "n/1", "n"]), st.booleans()), max_size=60))
def test_the_log_is_no_longer_than_there_are_things_to_say(notes: list[tuple[str, str, bool]]) -> None:
    left = log(*notes)
    assert len(left) == len(set(left)) <= 7 * 4
