"""Memory: large weights in several workers, a large artifact while it is loaded, and a thousand small models.

    python -m benchmarks.memory                  # everything
    python -m benchmarks.memory --models 1000    # only the small models
    python -m benchmarks.memory --models 0       # only the large ones

Linux only: figures are from /proc (PSS counts a page that N processes share as 1/N in each). Every figure is of fresh
processes that have answered a request. Exits with 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

PRIVATE_LIMIT: Final = 40.0  # MB that a further worker may have for itself
SMALL_LIMIT: Final = 1.5  # times the memory of bare sessions
SPEED_LIMIT: Final = 0.9  # of the throughput alone
MB: Final = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=-1, help="how many small models; 0 leaves them out")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.folder)))
        return 0
    good = True
    with tempfile.TemporaryDirectory(prefix="setsail-memory-") as made:
        os.environ["SETSAIL_CACHE"] = str(Path(made) / "cache")
        if options.models < 1:
            good &= large(Path(made))
        if options.models:
            good &= small(Path(made), 1000 if options.models < 0 else options.models)
    return 0 if good else 1


# -- large weights -------------------------------------------------------------------------------------------------


def large(folder: Path) -> bool:
    """ResNet-18 and four matrices of 4096 x 4096, by one worker, two and three, with and without shared weights."""
    good = True
    print(f"{'model':12} {'weights':8} {'workers':>7} {'PSS, all':>9} {'private, each':>20} {'ready':>7}")
    for name, path in packed(folder).items():
        for cache in ("off", "auto"):
            for workers in (1, 2, 3):
                if cache == "auto" and workers == 1:
                    served(path, cache, 1)  # makes the prepared form
                total, private, seconds = served(path, cache, workers)
                each = " ".join(f"{p:.1f}" for p in private)
                print(f"{name:12} {cache:8} {workers:7} {total:6.1f} MB {each:>17} MB {seconds:5.1f} s", flush=True)
                if cache == "auto" and workers > 1:
                    good &= max(private) <= PRIVATE_LIMIT
    print(f"private, each further worker: at most {PRIVATE_LIMIT:.0f} MB")
    for name, path in packed(folder).items():
        for cache in ("off", "auto"):
            part = child("load", path, SETSAIL_WEIGHTS_CACHE=cache)
            sizes = (path.stat().st_size / MB, part["peak"], part["anonymous"])
            told = "artifact {:.0f} MB, resident at most {:.0f} MB, its own after {:.0f} MB".format(*sizes)
            print(f"{name:12} {cache:8} loading: {part['seconds']:.2f} s, {told}", flush=True)
    return good


def packed(folder: Path) -> dict[str, Path]:
    """The artifacts, made on the first call."""
    from onnx import TensorProto

    import setsail
    from benchmarks.models import Graph, made

    found = {name: folder / f"{name}.setsail" for name in ("resnet18", "matrices")}
    if not found["matrices"].exists():
        setsail.pack(made("resnet18", folder).path, name="resnet18", output=found["resnet18"]).close()
        graph, x = Graph(), "x"
        for stage in range(4):
            x = graph.add("Relu", graph.add("MatMul", x, graph.weight(4096, 4096)), out="y" if stage == 3 else "")
        proto = graph.finished({"x": (TensorProto.FLOAT, ["N", 4096])}, "y", ["N", 4096])
        (folder / "matrices.onnx").write_bytes(proto.SerializeToString())
        setsail.pack(folder / "matrices.onnx", name="matrices", output=found["matrices"]).close()
    return found


def served(path: Path, cache: str, workers: int) -> tuple[float, list[float], float]:
    """MB of all processes together, MB that are each worker's alone, and seconds until ready."""
    begun = time.perf_counter()
    with serving(path, "--workers", str(workers), "--weights-cache", cache) as (process, url):
        seconds = time.perf_counter() - begun
        for _ in range(6 * workers):  # a connection each: any worker may get it
            ask(url, path.stem)
        pids = children(process.pid) or [process.pid]
        memory = [rollup(pid) for pid in pids]
        total = sum(m["Pss"] for m in memory) + (rollup(process.pid)["Pss"] if process.pid not in pids else 0)
        return total, [m["Private_Clean"] + m["Private_Dirty"] for m in memory], seconds


@contextmanager
def serving(path: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [
        sys.executable,
        "-m",
        "setsail",
        "serve",
        str(path),
        "--port",
        "0",
        "--admin-port",
        "-1",
        "--json",
        *flags,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield process, json.loads(line)["url"]
        finally:
            process.terminate()
            process.wait(30)


def ask(url: str, model: str) -> None:
    """One row of zeros, by the Open Inference Protocol's binary form."""
    shape = {"resnet18": [1, 3, 224, 224], "matrices": [1, 4096]}[model]
    body = np.zeros(shape, np.float32).tobytes()
    name = {"resnet18": "image", "matrices": "x"}[model]
    tensor = {"name": name, "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": len(body)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    headers = {"Inference-Header-Content-Length": str(len(head))}
    connection.request("POST", f"/v2/models/{model}/infer", head + body, headers)
    reply = connection.getresponse()
    if reply.status != 200:
        raise RuntimeError(f"{reply.status}: {reply.read()!r}")
    reply.read()
    connection.close()


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found.append(int(entry.parent.name))
    return found


def rollup(pid: int | str) -> dict[str, float]:
    """MB by kind."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in lines)}


# -- small models --------------------------------------------------------------------------------------------------


def small(folder: Path, count: int) -> bool:
    """Ever different logistic regressions: sessions and nothing else, beside a house that serves them."""
    write_small(folder, count)
    bare, ours = child("bare", folder), child("house", folder)
    print(f"{count} small models     memory a model     load a model")
    for name, part in (("bare sessions", bare), ("setsail", ours)):
        print(f"{name:18} {part['memory'] * 1024:12.1f} KiB {part['seconds'] * 1000:12.2f} ms")
    ratio, speed = ours["memory"] / bare["memory"], ours["alone"] / ours["among"]
    print(f"memory: {ratio:.2f} x the bare sessions' (at most {SMALL_LIMIT})")
    print(f"one of them answers at {speed:.2f} x the speed it has alone (at least {SPEED_LIMIT})")
    print(f"the first start on a machine tries every new program in a child: {ours['trial'] * 1000:.0f} ms more each")
    return bool(ratio <= SMALL_LIMIT and speed >= SPEED_LIMIT)


def write_small(folder: Path, count: int) -> None:
    import onnxruntime
    from onnx import load_from_string, numpy_helper

    from benchmarks.models import made
    from setsail.artifact import Draft, write
    from setsail.parity import Check, ParityReport
    from setsail.signature import Signature, TensorSpec
    from setsail.variants import Variant

    source = made("iris", folder)
    rows = np.concatenate([case.inputs["input"] for case in source.cases])
    proto, random = load_from_string(source.path.read_bytes()), np.random.default_rng(0)
    signature = Signature(
        (TensorSpec.parse("input:float32[N,4]"),), (TensorSpec.parse("scores:float32[N,3]"),), ("scores",)
    )
    proto.graph.output[0].name, given = "scores", proto.graph.output[0].name
    for node in proto.graph.node:
        node.output[:] = ["scores" if name == given else name for name in node.output]
    home = folder / "small"
    home.mkdir()
    for number in range(count):
        for node in proto.graph.node:
            for attribute in node.attribute:
                if attribute.name == "coefficients":
                    attribute.floats[:] = random.standard_normal(len(attribute.floats))
        for tensor in proto.graph.initializer:
            value = numpy_helper.to_array(tensor)
            if value.dtype == np.float32 and value.size > 1:
                drawn = random.standard_normal(value.shape).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(drawn, tensor.name))
        program = proto.SerializeToString()
        answers = onnxruntime.InferenceSession(program, providers=["CPUExecutionProvider"]).run(
            ["scores"], {"input": rows}
        )
        draft = Draft(
            name=f"m{number}", version=1, framework="onnx", versions={"onnx": "1.0"}, estimator="LogisticRegression",
            kind="tensors", hyperparameters={}, signature=signature, steps=(), environment={}, notes=(),
            variants=((Variant("onnx", "onnx", "float32", "model.onnx"), {"model.onnx": program}),),
            parity=ParityReport("onnx", "float32", 1.0, (Check("synthetic", 0, len(rows), 0, 0.0, "", 0),)),
            samples={"synthetic": ({"input": rows}, {"scores": answers[0]})},
        )  # fmt: skip
        write(draft, home / f"m{number}.setsail").close()


def _bare(folder: Path) -> dict[str, float]:
    """What a person would write: sessions of one thread, each run once."""
    import onnxruntime

    from setsail import artifact

    programs = []
    for path in _artifacts(folder):
        with artifact.read(path) as opened:
            programs.append(bytes(opened.files("onnx")["model.onnx"]))
    row = np.zeros((1, 4), np.float32)

    def session(program: bytes) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        made = onnxruntime.InferenceSession(program, options, providers=["CPUExecutionProvider"])
        made.run(None, {"input": row})
        return made

    kept = [session(programs[0])]
    before, begun = rollup("self")["Anonymous"], time.perf_counter()
    kept += [session(program) for program in programs[1:]]
    seconds = time.perf_counter() - begun
    count = len(programs) - 1
    return {"memory": (rollup("self")["Anonymous"] - before) / count, "seconds": seconds / count}


def _house(folder: Path) -> dict[str, float]:
    from setsail import artifact
    from setsail.artifact import verdict
    from setsail.messages import ModelRef, Request, Tensor, Tensors
    from setsail.serving.house import House

    paths = _artifacts(folder)
    row = Tensors((Tensor("input", np.zeros((1, 4), np.float32)),))
    house = House()
    begun = time.perf_counter()
    house.load(paths[0])
    first = time.perf_counter() - begun
    for path in paths[1:]:
        with artifact.read(path) as opened:
            (variant,) = opened.variants
            verdict.remember(verdict.key(variant, opened.digests(variant.id)))

    def answered(name: str) -> None:
        house.predict(Request(ModelRef(name), row))

    name = paths[0].stem
    alone = _best(answered, name)
    before, begun = rollup("self")["Anonymous"], time.perf_counter()
    for path in paths[1:]:
        house.load(path)
    seconds = (time.perf_counter() - begun) / (len(paths) - 1)
    for path in paths[1:]:
        answered(path.stem)
    memory = (rollup("self")["Anonymous"] - before) / (len(paths) - 1)
    among = _best(answered, name)
    return {"memory": memory, "seconds": seconds, "alone": alone, "among": among, "trial": first - seconds}


def _best(call: Any, name: str, rounds: int = 20, runs: int = 500) -> float:
    """Seconds of CPU a call: what else runs on the machine meanwhile does not count."""
    times = []
    for _ in range(rounds):
        begun = time.thread_time()
        for _ in range(runs):
            call(name)
        times.append((time.thread_time() - begun) / runs)
    return sorted(times)[len(times) // 4]


def _artifacts(folder: Path) -> list[Path]:
    return sorted((folder / "small").iterdir())


# -- parts that are processes of their own -------------------------------------------------------------------------


def _load(path: Path) -> dict[str, float]:
    """What loading one artifact takes, beside numpy and onnxruntime."""
    import onnxruntime  # noqa: F401

    from setsail.serving.house import House

    house = House(share_weights=os.environ["SETSAIL_WEIGHTS_CACHE"] == "auto")
    status = Path("/proc/self/status")
    before, begun = rollup("self")["Anonymous"], time.perf_counter()
    house.load(path)
    seconds = time.perf_counter() - begun
    peak = next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return {"seconds": seconds, "peak": peak, "anonymous": rollup("self")["Anonymous"] - before}


PARTS = {"bare": _bare, "house": _house, "load": _load}


def child(part: str, folder: Path, **environment: str) -> dict[str, float]:
    command: Sequence[str] = [sys.executable, "-m", "benchmarks.memory", "--part", part, "--folder", str(folder)]
    done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    sys.exit(main())
