"""A canary that only its labels tell from the version before: the same answers' times, no errors, other predictions."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from sklearn.linear_model import LogisticRegression

import setsail
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.server.supervisor import Supervisor

X = np.random.default_rng(0).uniform(-2, 2, (400, 1))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 3 of `side` say whether a number is above 0, version 2 whether it is above 1."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "side").mkdir()
    for version, limit in ((1, 0), (2, 1), (3, 0)):
        model = LogisticRegression(C=1e3).fit(X, (X[:, 0] > limit).astype(int))
        setsail.pack(model, X[:5], name="side", version=version, output=folder / f"side/{version}.setsail").close()
    return folder


class Service:
    """A client who learns the truth of each prediction, as it is for versions 1 and 3, and sends it back."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self._numbers = count()
        self._random = np.random.default_rng(1)
        self._session = requests.Session()

    def admin(self, action: str = "", body: Any = None) -> Any:
        url = f"{self.server.admin_url}/v1/routes/side" + (f"/{action}" if action else "")
        return self._session.request("GET" if body is None else "POST", url, json=body, timeout=30).json()

    def work(self, many: int) -> None:
        """So many predictions, each on a connection of its own so that any worker may answer, then their labels."""
        labels = []
        for _ in range(many):
            value, key = float(self._random.choice([-1.5, -0.5, 0.5, 1.5])), f"r{next(self._numbers)}"
            requests.post(f"{self.server.url}/v1/models/side:predict", json={"instances": [[value]]}, timeout=30,
                          headers={"x-request-id": key}).raise_for_status()  # fmt: skip
            labels.append({"id": key, "label": int(value > 0)})
        reply = requests.post(f"{self.server.url}/v1/models/side/feedback", json=labels, timeout=30)
        assert reply.json()["results"] == {"joined": many}

    def until_decided(self, *, by: str = "canary") -> Any:
        """The change that a canary's judge has made."""
        end = time.monotonic() + 120
        while (told := self.admin())["history"][0]["who"] != by:
            assert time.monotonic() < end, told["route"]
            self.work(20)
        return told["history"][0]


@contextmanager
def serving(models: Path, workers: int = 1) -> Iterator[Service]:
    settings = Settings(port=0, admin_port=0, watch="all", route="side:v1=1")
    with Server(settings) if workers == 1 else Supervisor(settings, workers) as server:
        server.open(models)
        server.start()
        yield Service(server)


def audit(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.message) for record in caplog.records if record.name == "setsail.audit"]


CANARY = {"version": 2, "percent": 50, "labels": True, "allowed": 0.15}


def test_one_that_is_worse_by_its_labels_alone_is_rolled_back(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "setsail.audit"), serving(models) as service:
        told = service.admin("canary", CANARY)
        assert told["route"]["canary"]["labels"] is True
        decided = service.until_decided()
        now = service.admin()
    assert (decided["what"], decided["to"]) == ("rollback", "v1=100")
    assert decided["why"].startswith("label 0.")
    assert "against 0 in" in decided["why"]
    assert now["route"]["weights"] == {"1": 100.0}
    line = audit(caplog)[-1]
    assert (line["what"], line["who"], line["why"]) == ("rollback", "canary", decided["why"])


def test_one_that_is_as_good_is_promoted_and_not_before_its_labels_say_so(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "setsail.audit"), serving(models) as service:
        service.admin("canary", CANARY | {"version": 3, "automatic": False})
        for _ in range(150):
            requests.post(f"{service.server.url}/v1/models/side:predict", json={"instances": [[0.5]]}, timeout=30)
        told = service.admin()["route"]["canary"]
        assert told["metrics"]["error"]["upper"] < 0.15  # enough, if labels were not asked for
        assert (told["decision"], told["metrics"]["label"]["pairs"]) == ("wait", 0)
        service.admin("canary", CANARY | {"version": 3})
        decided = service.until_decided()
    assert (decided["what"], decided["to"]) == ("promote", "v3=100")
    assert "label 0 against 0 in" in audit(caplog)[-1]["why"]


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="one process where none can be spawned so")
def test_two_workers_judge_by_the_labels_of_both(models: Path) -> None:
    with serving(models, workers=2) as service:
        service.admin("canary", CANARY)
        worse = service.until_decided()
        service.admin("canary", CANARY | {"version": 3, "who": "me"})
        equal = service.until_decided()
        history = service.admin()["history"]
    assert (worse["what"], worse["why"][:6], worse["to"]) == ("rollback", "label ", "v1=100")
    assert (equal["what"], equal["to"]) == ("promote", "v3=100")
    assert [change["what"] for change in history] == ["promote", "canary", "rollback", "canary", "route"]


def test_labels_that_would_never_come_are_refused(models: Path) -> None:
    with Server(Settings(port=0, admin_port=0)) as server:  # without a reference, versions are not watched
        server.open(models)
        server.start()
        url = f"{server.admin_url}/v1/routes/side/canary"
        reply = requests.post(url, json=CANARY, timeout=30)
        assert (reply.status_code, reply.json()["code"], reply.json()["field"]) == (400, "route.value", "labels")
        assert "--watch all" in reply.json()["error"]
        assert requests.post(url, json=CANARY | {"labels": False}, timeout=30).status_code == 200
