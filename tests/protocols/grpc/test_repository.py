"""Triton's repository extension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakehouse import FakeHouse, gallery

from setsail.errors import SetsailError
from setsail.protocols.grpc.pool import message

Call = Callable[..., Any]
PARAMETER = message("inference.ModelRepositoryParameter")
OIP = "/inference.GRPCInferenceService/"


@pytest.fixture
def house() -> FakeHouse:
    return gallery()


def test_the_index(call: Call) -> None:
    rows = {m.name: (m.version, m.state) for m in call(OIP + "RepositoryIndex").models}
    assert rows["iris"] == ("1", "READY")
    assert rows["sleepy"] == ("1", "LOADING")
    assert "sleepy" not in {m.name for m in call(OIP + "RepositoryIndex", ready=True).models}


def test_load_and_unload(call: Call, house: FakeHouse) -> None:
    call(OIP + "RepositoryModelUnload", model_name="iris", control=True)
    assert house.models["iris"].state == "gone"
    call(OIP + "RepositoryModelLoad", model_name="iris", control=True)
    assert house.models["iris"].state == "ready"


def test_parameters(call: Call, house: FakeHouse) -> None:
    dependents = {"unload_dependents": PARAMETER(bool_param=True)}
    call(OIP + "RepositoryModelUnload", model_name="iris", parameters=dependents, control=True)
    assert house.models["iris"].state == "gone"
    with pytest.raises(SetsailError) as caught:
        call(OIP + "RepositoryModelLoad", model_name="iris", parameters={"config": PARAMETER(string_param="{}")})
    assert caught.value.code == "request.unsupported"
    assert "config" in str(caught.value)


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_without_control_it_is_refused(call: Call, method: str) -> None:
    with pytest.raises(SetsailError) as caught:
        call(OIP + method, model_name="iris")
    assert caught.value.code == "control.refused"


@pytest.mark.parametrize("method", ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"])
def test_repositories_have_no_names(call: Call, method: str) -> None:
    with pytest.raises(SetsailError) as caught:
        call(OIP + method, repository_name="other", control=True)
    assert caught.value.code == "request.unsupported"
