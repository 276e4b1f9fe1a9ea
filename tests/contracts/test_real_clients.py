"""Every dtype and every framework, asked by the real clients: what they get is what our own bytes get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeModel
from frameworks import FRAMEWORKS, rows_of
from furnished import furnish
from speakers import SPEAKERS, Ask
from speakers.clients import CLIENTS, Job, run
from speakers.line import Line

from setsail.convert.conversion import Intent
from setsail.packing import PackOptions, pack
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.signature import Signature, TensorSpec
from setsail.tensors import DTYPES, Array, DType

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")]
REFERENCE = SPEAKERS["OIP REST, binary"]
VALUES: dict[str, list[Any]] = {
    "bool": [True, False], "string": ['a"b,c', "é\n😀"], "float": [0.1, -1e4], "int": [-100, 100], "uint": [0, 200],
}  # fmt: skip


def pair(dtype: DType) -> tuple[FakeModel, Array]:
    """A model that answers its table, and rows for it: integers of 64 bits beyond what a double holds."""
    spec = TensorSpec("x", dtype, ("N", 2))
    model = FakeModel(f"pair-{dtype.name}", Signature((spec,), (TensorSpec("y", dtype, ("N", 2)),), ("y",)),
                      lambda inputs: {"y": inputs["x"]})  # fmt: skip
    rows = np.empty((2, 2), dtype.numpy)
    rows[:] = VALUES[dtype.kind]
    if dtype.size == 8 and dtype.kind in ("int", "uint"):
        rows[1] = [2**53 + 1, 2**63 - 1]
    return model, rows


class Served:
    """One server of everything, and one of each model alone."""

    def __init__(self, folder: Path) -> None:
        self.asks: dict[str, Ask] = {}
        self.alone: dict[str, Server] = {}
        self.server = Server(Settings(port=0, admin_port=-1)).start()
        for dtype in DTYPES:
            model, rows = pair(dtype)
            self.asks[model.name] = Ask(model.name, model.signature, {"x": rows})
            self.alone[model.name] = Server(Settings(port=0, admin_port=-1))
            furnish(self.server.house, model)
            furnish(self.alone[model.name].house, model)
            self.alone[model.name].start()
        for name, framework in FRAMEWORKS.items():
            output = folder / f"{name}.setsail"
            source, example = framework.make(folder)
            with pack(source, Intent(example=example), PackOptions(name=name, output=output)) as artifact:
                self.asks[name] = Ask(name, artifact.signature, rows_of(artifact.signature))
            self.server.open(output)
            self.alone[name] = Server(Settings(port=0, admin_port=-1)).start()
            self.alone[name].open(output)
        self.line = Line(self.server.url.removeprefix("http://"))

    def close(self) -> None:
        self.line.close()
        for server in (self.server, *self.alone.values()):
            server.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("clients")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETSAIL_CACHE", str(folder / "cache"))
        made = Served(folder)
        yield made
        made.close()


@pytest.mark.parametrize("name", CLIENTS)
def test_a_real_client_gets_the_same_numbers(served: Served, tmp_path: Path, name: str) -> None:
    client, speaker = CLIENTS[name], SPEAKERS[name]
    kept = [ask for model, ask in served.asks.items() if model.removeprefix("pair-") not in client.lacks]
    urls = {ask.model: (served.alone[ask.model] if client.alone else served.server).url for ask in kept}
    answers = run(client, [Job(urls[ask.model], ask.model, ask.inputs) for ask in kept], tmp_path)
    assert len(kept) >= len(DTYPES) + len(FRAMEWORKS) - 1
    wrong = []
    for ask, told in zip(kept, answers, strict=True):
        truth = served.line.ask(REFERENCE, ask)
        if isinstance(told, str):
            wrong.append(f"{ask.model}: {told[:300]}")
            continue
        names = list(truth) if speaker.outputs == "all" else list(ask.signature.defaults)
        found = dict(zip(names, told.values(), strict=True)) if set(told) == {""} else told  # a bare answer
        for output in names:
            expected = truth[output]
            array = found[output] if expected.dtype == object else found[output].astype(expected.dtype)
            if array.shape != expected.shape or array.tolist() != expected.tolist():
                wrong.append(f"{ask.model}, {output}: {array.tolist()} for {expected.tolist()}"[:300])
    assert not wrong, "\n".join(wrong)
