"""`setsail watch` and `setsail report`, of a running server and of what was kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shell import run
from watched_server import packed, serving


def test_a_server_is_watched_kept_and_reported(tmp_path: Path) -> None:
    with serving(packed(tmp_path)) as found:
        found.send(2, 500, shift=1.0)
        shown = run("watch", found.admin)
        told = run("watch", found.admin, "--json")
    assert shown.code == 0
    assert "loans version 1" in shown.out
    assert "inputs FAILED since" in shown.out
    assert f"setsail report {found.admin} -o report.html" in shown.err
    assert told.document["models"]["loans"]["1"]["alarms"]["inputs"]["active"]
    (tmp_path / "kept.json").write_text(told.out)
    page = tmp_path / "page.html"
    made = run("report", tmp_path / "kept.json", "-o", page, "--json")
    assert made.document == {"file": str(page), "versions": 1}
    assert page.read_text().startswith("<!doctype html>")
    assert run("report", tmp_path / "kept.json", "-o", page, "--json").error["code"] == "artifact.exists"
    assert run("report", tmp_path / "kept.json", "-o", page, "--force").code == 0


@pytest.mark.parametrize("what", ["grafana", "prometheus"])
def test_files_for_other_tools_are_written(tmp_path: Path, what: str) -> None:
    made = run("watch", "--export", what, "-o", tmp_path / "out")
    assert made.code == 0
    assert "setsail_drift_alarm" in (tmp_path / "out").read_text()
    assert run("watch", "--export", what, "-o", tmp_path / "out", "--json").error["code"] == "artifact.exists"
    assert "setsail_drift_alarm" in run("watch", "--export", what).out


def test_where_nobody_answers_or_something_else_does(tmp_path: Path) -> None:
    assert run("watch", "--json").error["code"] == "command.usage"
    gone = run("watch", "http://127.0.0.1:9", "--json")
    assert (gone.code, gone.error["code"]) == (1, "watch.source")
    (tmp_path / "other.json").write_text(json.dumps({"models": {"m": {"1": {"rows": 1}}}, "at": 0, "rule": {}}))
    assert run("report", tmp_path / "other.json", "-o", tmp_path / "p", "--json").error["code"] == "watch.source"
    (tmp_path / "other.json").write_text("[]")
    assert run("report", tmp_path / "other.json", "-o", tmp_path / "p", "--json").error["code"] == "watch.source"
