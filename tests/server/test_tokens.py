"""TorchServe's token file: who is let in with which key, for how long, and how a key is renewed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from scaled import artifact

from setsail.errors import SetsailError
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.server.supervisor import Supervisor
from setsail.server.tokens import Tokens

spawning = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="one process where none can be spawned so")
REFUSED = {
    "code": 400, "type": "InvalidKeyException",
    "message": "Token Authorization failed. Token either incorrect, expired, or not provided correctly",
}  # fmt: skip


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> Tokens:
    made = Tokens(tmp_path / "key_file.json", 60, clock)
    made.create()
    return made


def keys(path: Path) -> dict[str, str]:
    return {kind: told["key"] for kind, told in json.loads(path.read_text()).items()}


def let_in(tokens: Tokens, kind: str, header: str) -> bool:
    try:
        tokens.check(kind, header)
    except SetsailError:
        return False
    return True


def test_who_is_not_let_in_is_told_which_key_is_missing(tokens: Tokens) -> None:
    with pytest.raises(SetsailError) as caught:
        tokens.check("inference", "")
    assert caught.value.code == "request.key"
    assert "the inference key of the token file" in caught.value.todo


def test_the_file_has_three_keys_for_its_owner_alone(tokens: Tokens) -> None:
    told = json.loads(tokens.path.read_text())
    assert list(told) == ["management", "inference", "API"]
    assert told["management"]["expiration time"] == "2023-11-14T23:13:20.000000Z"
    assert list(told["API"]) == ["key"]
    assert len({kind["key"] for kind in told.values()}) == 3
    assert all(re.fullmatch(r"[\w-]{8,}", kind["key"]) for kind in told.values())
    assert tokens.path.stat().st_mode & 0o777 == 0o600


def test_each_key_opens_its_own_door_until_it_is_too_old(tokens: Tokens, clock: Clock) -> None:
    given = keys(tokens.path)
    for kind, name in (("management", "management"), ("inference", "inference"), ("api", "API")):
        for other, key in given.items():
            assert let_in(tokens, kind, f"Bearer {key}") is (other == name)
    for header in ("", "Bearer", "Bearer ", given["inference"], f"Basic {given['inference']}", "Bearer é"):
        assert not let_in(tokens, "inference", header)
    clock.now += 60 * 60
    assert not let_in(tokens, "inference", f"Bearer {given['inference']}")
    assert let_in(tokens, "api", f"Bearer {given['API']}")


def test_a_renewed_key_is_good_in_every_process_and_the_old_one_is_not(tokens: Tokens, clock: Clock) -> None:
    other = Tokens(tokens.path, 60, clock)
    old = keys(tokens.path)
    assert let_in(other, "management", f"Bearer {old['management']}")
    clock.now += 3599
    tokens.renew("management")
    new = keys(tokens.path)
    assert (new["inference"], new["API"]) == (old["inference"], old["API"])
    clock.now += 3599
    for one in (tokens, other):
        assert let_in(one, "management", f"Bearer {new['management']}")
        assert not let_in(one, "management", f"Bearer {old['management']}")
    with pytest.raises(SetsailError) as caught:
        tokens.renew("API")
    assert caught.value.code == "request.form"


def test_a_file_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        Tokens(tmp_path / "nowhere" / "key_file.json", 60).create()
    assert caught.value.code == "setting.value"
    with pytest.raises(SetsailError) as caught:
        Tokens(tmp_path / "key_file.json", 60).check("api", "Bearer x")
    assert caught.value.code == "server.fault"


@pytest.fixture(params=[1, pytest.param(2, marks=spawning)], ids=["one process", "two"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    artifact(tmp_path / "noop.setsail", 1.0, name="noop").close()
    settings = Settings(port=0, admin_port=-1, as_="torchserve", token_file=str(tmp_path / "key_file.json"))
    made: Any = Server(settings) if request.param == 1 else Supervisor(settings, request.param)
    with made:
        made.open(tmp_path / "noop.setsail")
        yield made.start()


def test_a_servers_ports_ask_for_their_tokens(server: Any, tmp_path: Path) -> None:
    at = {door.row.number: f"http://127.0.0.1:{n}" for door, n in zip(server.doors, server._ports, strict=True)}
    given = keys(tmp_path / "key_file.json")

    def get(url: str, key: str | None, **how: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {given[key]}"} if key else {}
        return requests.request(how.pop("method", "GET"), url, headers=headers, timeout=20, **how)

    def refused(url: str, key: str | None, **how: Any) -> bool:
        reply = get(url, key, **how)
        assert reply.ok or (reply.status_code, reply.json()) == (400, REFUSED)
        return not reply.ok

    predicting = {"method": "POST", "json": [[1, 2]]}
    for _ in range(4):  # whichever process answers
        for key in (None, "management", "API"):
            assert refused(at[8080] + "/ping", key)
            assert refused(at[8080] + "/predictions/noop", key, **predicting)
        assert get(at[8080] + "/predictions/noop", "inference", **predicting).json() == [[1.0, 2.0]]
        for key in (None, "inference", "API"):
            assert refused(at[8081] + "/models", key)
        assert get(at[8081] + "/models", "management").json()["models"][0]["modelName"] == "noop"
    assert get(at[8082] + "/metrics", None).ok
    assert refused(at[8081] + "/token?type=inference", "management")
    before = dict(given)
    assert get(at[8081] + "/token?type=inference", "API").ok
    assert get(at[8081] + "/token?type=other", "API").json()["type"] == "BadRequestException"
    assert refused(at[8080] + "/ping", "inference")
    given.update(keys(tmp_path / "key_file.json"))
    assert before["inference"] != given["inference"]
    assert before["management"] == given["management"]
    for _ in range(4):
        assert get(at[8080] + "/ping", "inference").ok


def test_without_a_token_file_there_is_nothing_to_renew(tmp_path: Path) -> None:
    artifact(tmp_path / "noop.setsail", 1.0, name="noop").close()
    with Server(Settings(port=0, admin_port=-1, as_="torchserve")) as server:
        server.open(tmp_path / "noop.setsail")
        server.start()
        reply = requests.get(f"http://127.0.0.1:{server._ports[1]}/token?type=inference", timeout=20)
        assert (reply.status_code, reply.json()["type"]) == (404, "ResourceNotFoundException")


def test_a_request_has_one_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("k")
    with pytest.raises(SetsailError) as caught:
        Settings(token_file="key_file.json", api_key_file=str(tmp_path / "keys"))
    assert caught.value.code == "setting.value"
