"""The tables agree with each other and with the files."""

import sys
from pathlib import Path

import pytest
from benchmarks.__main__ import _arguments, planned
from benchmarks.models import MODELS, made
from benchmarks.peers import HERE, PEERS, Place
from benchmarks.processes import Server
from benchmarks.wires import WIRES
from benchmarks.workloads import QUICK, WORKLOADS


@pytest.mark.parametrize("name", PEERS)
def test_a_peers_row_is_complete(name: str) -> None:
    peer = PEERS[name]
    assert {wire for wire, _ in peer.wires.values()} <= {*WIRES, ""}
    assert {row.kind for row in WORKLOADS.values()} >= set(peer.wires)
    assert set(peer.only) <= set(WORKLOADS)
    assert bool(peer.packages) == bool(peer.environment)
    assert peer.notes
    for part in peer.command:
        module, colon, _ = part.partition(":")
        if part.startswith("{here}/"):
            assert (HERE / part.removeprefix("{here}/")).is_file()
        elif colon and not module.startswith("127"):
            assert (HERE / f"{module}.py").is_file()


def test_one_environment_has_one_list_of_packages() -> None:
    assert len({peer.environment for peer in PEERS.values()}) == len(
        {(peer.environment, peer.packages) for peer in PEERS.values()}
    )


def test_the_quick_visits_are_possible() -> None:
    for visit in QUICK:
        peer = PEERS[visit.peer]
        assert WORKLOADS[visit.workload].kind in peer.wires
        assert not peer.only or visit.workload in peer.only


def test_visits_can_be_chosen() -> None:
    options = ["--workloads", "iris", "--peers", "setsail,echo", "--workers", "1,2", "--clients", "8"]
    assert [visit[1:] for visit in planned(_arguments(options))] == [
        ("setsail", 1, (8,)),
        ("setsail", 2, (8,)),
        ("echo", 1, (8,)),
        ("echo", 2, (8,)),
    ]


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _arguments(["--peers", "tomcat"])
    assert "'tomcat' is none of setsail" in capsys.readouterr().err


def test_a_place_fills_a_command(tmp_path: Path) -> None:
    model = made("digits", tmp_path)
    place = Place(Path("/venv/bin"), tmp_path, model, 8080, 2)
    assert place.filled("{bin}/x --port {port} {name} {workers}") == "/venv/bin/x --port 8080 digits 2"


def test_a_model_is_made_once_and_answers_what_it_answered(tmp_path: Path) -> None:
    import numpy as np
    import onnxruntime

    first = made("digits", tmp_path)
    written = first.path.stat().st_mtime_ns
    again = made("digits", tmp_path)
    assert again.path.stat().st_mtime_ns == written
    session = onnxruntime.InferenceSession(str(again.path), providers=["CPUExecutionProvider"])
    for case in again.cases:
        np.testing.assert_allclose(session.run(None, dict(case.inputs))[0], case.answer, atol=1e-6)
    assert {row.model for row in WORKLOADS.values()} == set(MODELS)


def test_a_models_answer_is_the_source_models(tmp_path: Path) -> None:
    case = made("iris", tmp_path).cases[0]
    assert case.answer.shape == (1, 3)
    assert case.answer.sum() == pytest.approx(1.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_servers_processes_are_found_counted_and_ended(tmp_path: Path) -> None:
    child = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ntime.sleep(60)"
    # one more process, in a session of its own, as some servers make them
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], start_new_session=True)"
    log = tmp_path / "log"
    server = Server([sys.executable, "-c", script], {}, log, tmp_path)
    try:
        server.wait(lambda: None if "done" in log.read_text() else "not done", 30)
        pids = server.pids()
        assert len(pids) == 2
        assert server.cpu_seconds() >= 0.25
        assert server.pss_mb() > 1
    finally:
        server.stop(0.5)
    assert server.pids() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    server = Server(
        [sys.executable, "-c", "print('no such model'); raise SystemExit(3)"], {}, tmp_path / "log", tmp_path
    )
    with pytest.raises(RuntimeError, match="ended with 3: no such model"):
        server.wait(lambda: "not yet", 30)
