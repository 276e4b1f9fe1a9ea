"""Flavours: rows that can be opened, and what a user writes of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from setsail.errors import SetsailError
from setsail.protocols.flavours import DATA, FLAVOURS, ROLES, listened, renumbered


@pytest.mark.parametrize("name", FLAVOURS)
def test_every_flavour_predicts_first_on_ports_that_differ(name: str) -> None:
    flavour = FLAVOURS[name]
    assert flavour.name == name
    assert flavour.data.role == DATA
    assert any(route.predicts for route in flavour.data.table().routes)
    assert len({port.number for port in flavour.ports}) == len(flavour.ports)
    assert {port.role for port in flavour.ports} <= set(ROLES)


@pytest.mark.parametrize("name", FLAVOURS)
def test_faults_below_a_path_are_told_by_the_wire_that_has_it(name: str) -> None:
    for port in FLAVOURS[name].ports:
        table = port.table()
        assert table.wire_of("/nobody/has/this") is table.routes[0].wire
        for route in table.routes:
            if "{" not in route.pattern.split("/")[1]:
                owner = table.wire_of(route.pattern)
                assert owner in {other.wire for other in table.routes if other.pattern[:4] == route.pattern[:4]}


def test_the_page_has_every_port() -> None:
    page = (Path(__file__).parents[2] / "docs/flavours.md").read_text()
    lines = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `") and "](wires/" in line}
    assert set(lines) == set(FLAVOURS)
    for name, line in lines.items():
        assert {int(number) for number in re.findall(r"[0-9]{4}", line)} == {p.number for p in FLAVOURS[name].ports}


def test_what_listen_says() -> None:
    assert listened("") == ()
    assert listened("8501=tfserving, 9000=kserve,") == ((8501, "tfserving"), (9000, "kserve"))


def test_what_ports_say() -> None:
    assert renumbered("", "") == {}
    assert renumbered("8501=0,8500=9500", "tfserving") == {8501: 0, 8500: 9500}


@pytest.mark.parametrize(
    "text", ["8501", "8501=tensorflow", "=tfserving", "70000=tfserving", "-1=tfserving", "x=triton"]
)
def test_what_listen_does_not_take(text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        listened(text)
    assert (caught.value.code, caught.value.field) == ("setting.value", "--listen")


@pytest.mark.parametrize(
    ("text", "flavour"), [("8501=1", ""), ("8080=1", "tfserving"), ("8501=x", "tfserving"), ("8501", "tfserving")]
)
def test_what_ports_do_not_take(text: str, flavour: str) -> None:
    with pytest.raises(SetsailError) as caught:
        renumbered(text, flavour)
    assert (caught.value.code, caught.value.field) == ("setting.value", "--ports")
