"""Live modules. An export takes seconds, so the fast ones share theirs; the rest are marked slow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from setsail.convert.conversion import Conversion, Intent  # noqa: E402
from setsail.convert.torch import convert  # noqa: E402
from setsail.convert.torch.assembly import Model  # noqa: E402
from setsail.errors import SetsailError  # noqa: E402
from setsail.signature import TensorSpec  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")]
nn = torch.nn


def inputs(*texts: str) -> Intent:
    return Intent(inputs=tuple(map(TensorSpec.parse, texts)))


class Convolution(nn.Module):
    """A CNN for the 8x8 digits that takes any size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 10)
        self.drop = nn.Dropout(0.5)

    def forward(self, image: Any) -> Any:
        features = torch.relu(self.norm(self.conv(image)))
        return self.head(self.drop(features.mean((2, 3))))


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    """A trained CNN, left in training mode, and its images."""
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_digits(return_X_y=True)
    images, labels = torch.tensor(X[:200].reshape(-1, 1, 8, 8) / 16, dtype=torch.float32), torch.tensor(y[:200])
    torch.manual_seed(0)
    module = Convolution()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        optimizer.step()
    return module, images


@pytest.fixture(scope="module")
def packed(digits: Any) -> Conversion:
    module, images = digits
    return convert(module, Intent(example=images[:20].numpy().astype(np.float64), labels=tuple("0123456789")))


def test_a_cnn_converts_with_a_free_batch(packed: Conversion, agrees: Any) -> None:
    assert str(packed.signature) == "(image:float32[N,1,8,8]) -> (label:string[N], output:float32[N,10])"
    assert packed.signature.defaults == ("label",)
    assert packed.signature.output("output").labels == tuple("0123456789")
    assert [step.kind for step in packed.processing.steps] == ["scores.label"]
    assert packed.programs[0].variant.max_batch is None
    assert (packed.framework, packed.kind, packed.estimator) == ("pytorch", "tensors", "Convolution")
    agrees(packed)


def test_the_probes_hold_what_the_module_answers(packed: Conversion, digits: Any) -> None:
    module, _ = digits
    module.eval()
    with torch.no_grad():
        for probe in packed.probes:
            expected = module(torch.from_numpy(probe.inputs["image"])).numpy()
            np.testing.assert_allclose(probe.outputs["output"], expected, atol=1e-6)
    module.train()
    assert [p.what for p in packed.probes] == ["example", "synthetic"]
    drawn = packed.probes[1].inputs["image"]
    assert 0 <= drawn.min() <= drawn.max() <= 1


def test_converting_leaves_the_module_as_it_was_and_gives_the_same_bytes_twice(packed: Conversion, digits: Any) -> None:
    module, images = digits
    module.drop.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    again = convert(module, Intent(example=images[:20], labels=tuple("0123456789")))
    assert module.training
    assert not module.drop.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    module.drop.train()
    assert again.programs[0].files == packed.programs[0].files
    assert b"test_live" not in again.programs[0].files["model.onnx"]


def test_input_texts_free_height_and_width(digits: Any, agrees: Any) -> None:
    conversion = convert(digits[0], inputs("image:float32[*,1,H,W]"))
    assert str(conversion.signature) == "(image:float32[N,1,H,W]) -> (output:float32[N,10])"
    assert {p.inputs["image"].shape[2:] for p in conversion.probes} == {(8, 8), (9, 10)}
    agrees(conversion)


class Pair(nn.Module):
    """Two inputs of different dtypes, an optional one, and nested outputs, one of which is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(7, 4), nn.Linear(600, 600)

    def forward(self, ids: Any, dense: Any, bias: Any = None) -> Any:
        wide = self.head(dense)
        return {"score": wide.mean(1).squeeze(), "parts": (self.words(ids).mean(1), dense), "absent": bias}


def test_two_inputs_nested_outputs_and_large_weights(agrees: Any) -> None:
    example = {"dense": torch.rand(5, 600), "ids": torch.randint(0, 7, (5, 3))}
    conversion = convert(Pair(), Intent(example=example))
    assert str(conversion.signature) == (
        "(ids:int64[N,3], dense:float32[N,600]) -> (score:float32[N], parts_0:float32[N,4], parts_1:float32[N,600])"
    )
    assert conversion.signature.defaults == ("score", "parts_0", "parts_1")
    assert len(conversion.programs[0].files["weights.bin"]) > 600 * 600 * 4
    agrees(conversion)


class OneRow(nn.Module):
    """Written for a batch of 1."""

    def forward(self, x: Any) -> Any:
        return x.reshape(1, 6) * 2


def test_a_module_of_one_row_is_split_by_the_server(agrees: Any) -> None:
    conversion = convert(OneRow(), Intent(example=torch.randn(5, 3, 2)))
    assert str(conversion.signature) == "(x:float32[N,3,2]) -> (output:float32[N,6])"
    assert conversion.programs[0].variant.max_batch == 1
    agrees(conversion)


# -- refused, before anything is exported -----------------------------------------------------------------------------


def refused(module: Any, intent: Intent) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        convert(module, intent)
    return caught.value


def test_a_module_alone_does_not_say_what_it_takes() -> None:
    fault = refused(Pair(), Intent())
    assert fault.code == "convert.example"
    assert '--input "ids:float32[*,…]"' in str(fault)


@pytest.mark.parametrize(
    "intent",
    [
        inputs("nonsense:float32[*,3]", "x:float32[*,3]"),
        inputs("x:string[*]"),
        Intent(example={"x": np.ones((2, 3)), "y": np.ones((2, 3))}),
        Intent(example=(np.ones((2, 3)), np.ones((2, 3)))),
        Intent(example=np.array([["a"]])),
    ],
)
def test_inputs_that_do_not_fit_forward(intent: Intent) -> None:
    assert refused(nn.Linear(3, 2), intent).code == "convert.input"


def test_a_module_that_fails_on_its_example() -> None:
    fault = refused(nn.Linear(3, 2), Intent(example=np.ones((2, 4))))
    assert fault.code == "convert.run"
    assert "input float32[3, 4]" in fault.what


def test_rows_that_influence_each_other() -> None:
    fault = refused(nn.TransformerEncoderLayer(8, 2, 16), Intent(example=torch.randn(5, 6, 8)))
    assert fault.code == "convert.input"
    assert "batch first" in fault.todo


class Speaker(nn.Module):
    def forward(self, x: Any) -> Any:
        return "hello"


class Lots(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + torch.rand_like(x)


@pytest.mark.parametrize("module", [Speaker(), Lots(), nn.Linear(3, 2).bfloat16()])
def test_answers_that_no_wire_can_carry(module: Any) -> None:
    assert refused(module, Intent(example=np.ones((2, 3)))).code == "convert.unsupported"


class TinyForCausalLM(nn.Module):
    """The name is the rule."""


def test_a_language_model_is_sent_elsewhere() -> None:
    assert refused(TinyForCausalLM(), Intent(example=np.ones((2, 3)))).code == "source.llm"


# -- refused by the exporter ------------------------------------------------------------------------------------------


class Branching(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * 2 if x.sum() > 0 else x


class Factorising(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.linalg.qr(x)[0]


def test_a_branch_on_data_is_explained(capfd: Any) -> None:
    # rows of one sign each, so that batching does not change the branch
    fault = refused(Branching(), Intent(example=np.array([[1.0, 2.0], [3.0, 4.0]])))
    assert fault.code == "convert.unsupported"
    assert "torch.where" in fault.todo
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_an_operator_without_translation_is_named() -> None:
    fault = refused(Factorising(), Intent(example=torch.rand(3, 4, 4)))
    assert fault.code == "convert.unsupported"
    assert "aten.linalg_qr" in fault.what


# -- more architectures -----------------------------------------------------------------------------------------------


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.memory = nn.Embedding(10, 4), nn.LSTM(4, 5, batch_first=True)

    def forward(self, ids: Any) -> Any:
        states, (hidden, _) = self.memory(self.words(ids))
        return states[:, -1], hidden.transpose(0, 1)


def encoder() -> Any:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1, enable_nested_tensor=False)


MANY = [
    (nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)), Intent(example=[[1.0, 2, 3, 4]] * 3),
     "(input:float32[N,4]) -> (output:float32[N,3])"),
    (nn.Sequential(nn.Linear(4, 2)).double(), Intent(example=np.random.default_rng(0).random((3, 4))),
     "(input:float64[N,4]) -> (output:float64[N,2])"),
    (Reader(), Intent(example=np.arange(18).reshape(3, 6) % 10),
     "(ids:int64[N,6]) -> (output_0:float32[N,5], output_1:float32[N,1,5])"),
    (nn.EmbeddingBag(10, 4), inputs("input:int64[*,3]"), "(input:int64[N,3]) -> (output:float32[N,4])"),
    (encoder(), inputs("src:float32[*,T,8]"), "(src:float32[N,T,8]) -> (output:float32[N,T,8])"),
    (nn.TransformerEncoderLayer(8, 2, 16), inputs("src:float32[5,2,8]"),
     "(src:float32[5,2,8]) -> (output:float32[5,2,8])"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("module", "intent", "signature"), MANY)
def test_many_architectures(module: Any, intent: Intent, signature: str, agrees: Any) -> None:
    conversion = convert(module, intent)
    assert str(conversion.signature) == signature
    agrees(conversion)


# -- names -------------------------------------------------------------------------------------------------------------


class Echo(nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return {"x": x * 2, "x_out": y, "z": x + y}


def test_an_output_that_is_called_as_an_input_gets_a_name_of_its_own() -> None:
    ran = Model(Echo(), torch.device("cpu"), keywords=True).run({"x": np.ones((2, 2)), "y": np.zeros((2, 2))})
    assert {name: float(array[0, 0]) for name, array in ran.items()} == {"x_out_out": 2, "x_out": 0, "z": 1}


@pytest.mark.slow
def test_an_output_that_is_an_input_is_exported_under_its_own_name() -> None:
    made = convert(Echo(), inputs("x:float32[*,2]", "y:float32[*,2]"))
    assert [spec.name for spec in made.signature.outputs] == ["x_out_out", "x_out", "z"]
    assert made.notes == ("output 'x_out_out' is 'x', as an input is called",)
