"""Every form of every wire with a model of every framework: the same request gives the same numbers, to the last bit.

The batches are equal, so the runs are; what could differ is what a wire makes of the numbers on their way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from frameworks import FRAMEWORKS, rows_of
from speakers import SPEAKERS, Ask
from speakers.line import Line

from setsail.convert.conversion import Intent
from setsail.packing import PackOptions, pack
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.serving.model import Model
from setsail.tensors import Array

pytest.importorskip("grpc")
pytestmark = [pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")]
REFERENCE = "OIP REST, binary"


@dataclass
class Served:
    """One server with all of them."""

    line: Line
    asks: Mapping[str, Ask]
    truth: Mapping[str, Mapping[str, Array]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("frameworks")
    asks, truth = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETSAIL_CACHE", str(folder / "cache"))
        with Server(Settings(port=0, admin_port=-1)).start() as server:
            for name, framework in FRAMEWORKS.items():
                if name == "torch" and not _has("torch"):
                    continue
                source, example = framework.make(folder)
                output = Path(folder, f"{name}.setsail")
                with pack(source, Intent(example=example), PackOptions(name=name, output=output)) as artifact:
                    asks[name] = Ask(name, artifact.signature, rows_of(artifact.signature))
                with Model(output) as model:
                    truth[name] = model.predict(dict(asks[name].inputs))
                server.open(output)
            line = Line(server.url.removeprefix("http://"))
            yield Served(line, asks, truth)
            line.close()


def _has(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", SPEAKERS)
def test_the_same_request_gives_the_same_numbers(served: Served, name: str, framework: str) -> None:
    if framework not in served.asks:
        pytest.skip(f"{framework} is not installed")
    asked, speaker = served.asks[framework], SPEAKERS[name]
    if not speaker.can(asked.signature, asked.inputs):
        assert speaker.only == ("one input" if FRAMEWORKS[framework].several and speaker.only != "table" else "table")
        assert not FRAMEWORKS[framework].table
        return
    found, truth = served.line.ask(speaker, asked), served.line.ask(SPEAKERS[REFERENCE], asked)
    names = [spec.name for spec in asked.signature.outputs] if speaker.outputs == "all" else asked.signature.defaults
    assert list(found) == list(names)
    for output, array in found.items():
        assert array.dtype == truth[output].dtype
        assert array.shape == truth[output].shape
        assert array.tolist() == truth[output].tolist()
        if array.dtype != object:
            assert array.tobytes() == truth[output].tobytes()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_they_are_the_numbers_of_the_model_itself(served: Served, framework: str) -> None:
    if framework not in served.asks:
        pytest.skip(f"{framework} is not installed")
    asked = served.asks[framework]
    told = served.line.ask(SPEAKERS[REFERENCE], asked)
    truth = served.truth[framework]
    assert set(truth) <= set(told)
    for output, array in truth.items():
        assert array.tolist() == told[output].tolist()
