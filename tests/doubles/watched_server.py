"""A server of one watched model, on free ports: rows like its reference's, shifted ones, labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
from sklearn.linear_model import LogisticRegression

import setsail
from setsail.server.run import Server
from setsail.server.settings import Settings

COLUMNS = ("age", "income", "debt")


def drawn(seed: int, rows: int, shift: float = 0.0) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal((rows, 3)).astype(np.float32)
    made[:, 1] += shift
    return made


def packed(folder: Path, *, reference: bool = True, seed: int = 0) -> Path:
    """`loans`, a classifier of two classes."""
    rows = drawn(seed, 400)
    model = LogisticRegression().fit(rows, (rows.sum(1) > 0).astype(int))
    path = folder / "loans-1.setsail"
    setsail.pack(model, rows[:5], name="loans", output=path, reference=drawn(1, 5000) if reference else None).close()
    return path


class Watched:
    """Requests to it."""

    def __init__(self, server: Any) -> None:
        self.server, self.url, self.admin = server, server.url, str(server.admin_url)

    def predict(self, rows: np.ndarray, key: str = "") -> requests.Response:
        headers = {"x-request-id": key} if key else {}
        reply = requests.post(f"{self.url}/predict/loans", json=rows.tolist(), headers=headers, timeout=30)
        assert reply.status_code == 200, reply.text
        return reply

    def send(self, seed: int, rows: int, shift: float = 0.0) -> None:
        """Rows, a hundred at a time."""
        made = drawn(seed, rows, shift)
        for start in range(0, rows, 100):
            self.predict(made[start : start + 100])

    def feedback(self, body: Any, path: str = "/v1/models/loans/feedback") -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=30)

    def told(self) -> dict[str, Any]:
        """What is known of it."""
        found: dict[str, Any] = requests.get(f"{self.admin}/v1/watch/loans", timeout=30).json()
        return dict(found["models"]["loans"]["1"])

    def metrics(self) -> str:
        return requests.get(f"{self.admin}/metrics", timeout=30).text


@contextmanager
def serving(path: Path, **settings: Any) -> Iterator[Watched]:
    with Server(Settings(port=0, admin_port=0, workers=1, **settings)) as server:
        server.open(path)
        server.start()
        yield Watched(server)
