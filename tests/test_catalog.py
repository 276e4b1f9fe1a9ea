"""The states of a version are one closed table."""

from setsail.catalog import STATES, VersionStatus

# tensorflow/serving, apis/get_model_status.proto; triton-inference-server, the model repository extension
TF = {"START", "LOADING", "AVAILABLE", "UNLOADING", "END"}
OIP = {"READY", "LOADING", "UNLOADING", "UNAVAILABLE"}


def test_every_state_has_a_name_on_every_wire() -> None:
    assert {s.tf for s in STATES.values()} == TF
    assert {s.oip for s in STATES.values()} == OIP


def test_every_state_is_reached_from_the_first_and_none_is_a_dead_end() -> None:
    reached, more = set(), {"queued"}
    while more:
        reached |= more
        more = {n for name in more for n in STATES[name].next} - reached
    assert reached == STATES.keys()
    assert all(state.next for state in STATES.values())


def test_ready_is_what_each_wire_calls_ready() -> None:
    for name, state in STATES.items():
        assert state.ready == (state.tf == "AVAILABLE") == (state.oip == "READY")
        assert VersionStatus("m", 1, name).ready is state.ready


def test_a_ready_version_drains_before_it_goes() -> None:
    assert STATES["ready"].next == ("draining", "restarting")
    assert STATES["restarting"].next == ("ready", "draining")
    assert STATES["draining"].next == ("gone",)
