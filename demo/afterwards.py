"""What comes after the first version: a second one as a canary, rows that drift, and the model in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
from rich.console import Console
from xgboost import XGBClassifier

import setsail
from demo.models import Trained
from demo.wires import Client
from setsail import targets
from setsail.errors import SetsailError

__all__ = ["afterwards"]

NAME, ROWS, AT_ONCE = "cancer", 6000, 50
Sender = Callable[[float], None]


def afterwards(console: Console, trained: Trained, folder: Path) -> bool:
    """Ship version 2 of the cancer model beside version 1, and watch both. Says whether all went as it should."""
    console.rule("[bold]A second version, and what it is asked", align="left")
    versions = packed(trained, folder)
    with setsail.serve(*versions, port=0, admin_port=0, block=False) as server:
        rows, admin = reference(trained), Client(server.admin_url)
        # the highest version answers, until somebody says otherwise
        admin.ask("PUT", f"/v1/routes/{NAME}", '{"weights": {"1": 100}, "who": "demo"}', {})
        admin.post(f"/v1/routes/{NAME}/canary", {"version": 2, "percent": 20, "who": "demo"})
        route = admin.ask("GET", f"/v1/routes/{NAME}", None, {})["route"]
        weights = ", ".join(f"v{version} {weight:g} %" for version, weight in route["weights"].items())
        console.print(f"version 2 is a canary: {weights}; its rule says: {route['canary']['decision']}")
        send = sender(Client(server.url), rows)
        good = honest(console, admin, send) and shifted(console, admin, send)
    return in_a_browser(console, versions[0], folder) and good


def reference(trained: Trained) -> Any:
    """Rows as the model was trained on, drawn again: what drift is held against."""
    return trained.example.sample(ROWS, replace=True, random_state=0)


def packed(trained: Trained, folder: Path) -> list[Path]:
    second = XGBClassifier(n_estimators=40, max_depth=3, n_jobs=1)
    second.fit(trained.example, trained.model.predict(trained.example))
    files = []
    for version, model in enumerate((trained.model, second), 1):
        files.append(folder / f"{NAME}-{version}.setsail")
        setsail.pack(model, trained.example, name=NAME, version=version, reference=reference(trained),
                     output=files[-1], **trained.options).close()  # fmt: skip
    return files


def sender(client: Client, rows: Any) -> Sender:
    """Sends rows like the reference's, with its first column moved by so many standard deviations."""
    rng = np.random.default_rng(1)

    def send(shift: float) -> None:
        chosen = rows.to_numpy()[rng.integers(0, len(rows), AT_ONCE)].copy()
        chosen[:, 0] += shift * rows.iloc[:, 0].std()
        client.post(f"/v1/models/{NAME}:predict", {"instances": chosen.tolist()})

    return send


def honest(console: Console, admin: Client, send: Sender) -> bool:
    """Rows like those of the training raise nothing."""
    for window in range(1, 6):  # of 500 rows or more: they are looked at once a second
        for _ in range(20):
            send(0.0)
        told = until(admin, lambda found, window=window: found["windows"] >= window)
    alarms = raised(told)
    console.print(f"{told['rows']:,} honest rows, {told['windows']} windows: "
                  + (f"[red]alarm: {', '.join(alarms)}" if alarms else "[green]no alarm"))  # fmt: skip
    return not alarms


def shifted(console: Console, admin: Client, send: Sender) -> bool:
    """Rows whose first column moved by one standard deviation raise an alarm."""
    for _ in range(60):
        send(1.0)
    told = until(admin, lambda found: bool(raised(found)))
    alarms = raised(told)
    console.print("one column moved by one standard deviation: "
                  + (f"[green]alarm: {', '.join(alarms)}" if alarms else "[red]no alarm"))  # fmt: skip
    return bool(alarms)


def until(admin: Client, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What is known of version 1 once it is so, or after ten seconds: rows are counted beside the requests."""
    end = monotonic() + 10
    while True:
        told: dict[str, Any] = admin.ask("GET", f"/v1/watch/{NAME}", None, {})["models"][NAME]["1"]
        if done(told) or monotonic() > end:
            return told
        sleep(0.2)


def raised(told: dict[str, Any]) -> list[str]:
    return [f"{family} ({', '.join(alarm['features'])})" if alarm["features"] else family
            for family, alarm in told["alarms"].items() if alarm["active"]]  # fmt: skip


def in_a_browser(console: Console, file: Path, folder: Path) -> bool:
    """The static folder; what runs models in browsers is fetched from the npm registry, once."""
    site = folder / "site"
    try:
        with setsail.artifact.read(file) as opened:
            targets.ship(opened, "browser", site, {})
    except SetsailError as fault:
        if fault.code != "ship.fetch":
            raise
        console.print(f"[yellow]no browser folder: {fault.what}")
        return True
    files = [path for path in site.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    console.print(
        f"in a browser: {len(files)} files, {size:.1f} MB, as `setsail ship {file.name} --to browser` writes them"
    )
    return (site / "index.html").is_file()
