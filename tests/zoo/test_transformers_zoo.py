"""The zoo's house of transformers: directories packed with their tokenizers and processors, served, and asked.

What is asked are texts and picture files as a client sends them; the truth is the model's own answer to its own
tokenizer or processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import hugging  # noqa: E402
from keeper import Keeper, Specimen, keeping  # noqa: E402
from PIL import Image  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]
TEXTS = np.array(
    ["The cat sat on the mat.", "great acting!", "Weather: 25 degrees", "naïve café 👍", "Привет, мир", "a" * 300,
     "a bad film, and a good dog; who wrote this, why, and when did the rain in the city stop?", "x"], dtype=object,
)  # fmt: skip
PAIRS = TEXTS[::-1].copy()
LONG = 24


def picture(row: int) -> bytes:
    """A drawn picture of an odd size, every second one grey, as a PNG."""
    y, x = np.mgrid[0 : 37 + 5 * row, 0:61]
    plane = np.stack([np.sin((x + row * 7) / 9) + np.cos(y / (5 + row)), np.cos(x / 11), np.sin((x + y) / 13)], -1)
    image = Image.fromarray(((plane + 2) * 63).astype(np.uint8))
    buffer = BytesIO()
    (image.convert("L") if row % 2 else image).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = np.array([picture(row) for row in range(5)], dtype=object)


def scores(logits: Any) -> dict[str, Any]:
    found = logits.softmax(-1).numpy()
    return {"label": np.array(hugging.LABELS, dtype=object)[found.argmax(1)], "probabilities": found}


def asked(model: Any, tokenizer: Any, *columns: Any, length: int = LONG) -> Any:
    sides = [list(column) for column in columns]
    with torch.no_grad():
        return model(**tokenizer(*sides, padding=True, truncation=True, max_length=length, return_tensors="pt"))


def seen(model: Any, processor: Any, files: Any) -> Any:
    opened = [Image.open(BytesIO(file)).convert("RGB") for file in files]
    with torch.no_grad():
        return model(**processor(opened, return_tensors="pt"))


def sentiment(folder: Path) -> Specimen:
    model, tokenizer = hugging.bert(folder), hugging.word_pieces()
    return Specimen(folder, TEXTS, lambda rows: scores(asked(model, tokenizer, rows).logits))


def entailment(folder: Path) -> Specimen:
    model, tokenizer = hugging.bert(folder), hugging.word_pieces()
    example = {"text": TEXTS[:3], "text_pair": PAIRS[:3]}
    return Specimen(folder, (TEXTS, PAIRS), lambda rows: scores(asked(model, tokenizer, *rows).logits), example=example)


def topics(folder: Path) -> Specimen:
    """RoBERTa's tokenizer, any number of labels at once."""
    tokenizer = hugging.byte_level(model_max_length=22)
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = transformers.RobertaConfig(vocab_size=len(tokenizer), problem_type="multi_label_classification",
                                        **ids, **hugging.TINY, **hugging.labels())  # fmt: skip
    model = hugging.model("RobertaForSequenceClassification", config, folder, tokenizer)
    return Specimen(
        folder, TEXTS,
        lambda rows: {"probabilities": asked(model, tokenizer, rows, length=22).logits.sigmoid().numpy()},
    )  # fmt: skip


def entities(folder: Path) -> Specimen:
    model, tokenizer = hugging.bert(folder, "BertForTokenClassification"), hugging.word_pieces()
    names = np.array([*hugging.LABELS, ""], dtype=object)

    def truth(rows: Any) -> dict[str, Any]:
        found = asked(model, tokenizer, rows).logits.softmax(-1).numpy()
        mask = tokenizer(list(rows), padding=True, truncation=True, max_length=LONG, return_tensors="np")
        real = mask["attention_mask"] == 1
        label, full = np.full((len(rows), LONG), "", dtype=object), np.zeros((len(rows), LONG, 3), dtype=np.float32)
        label[:, : real.shape[1]] = names[np.where(real, found.argmax(-1), 3)]
        full[:, : real.shape[1]] = found * real[..., None]
        return {"label": label, "probabilities": full}

    return Specimen(folder, TEXTS, truth)


def sentences(folder: Path) -> Specimen:
    model, tokenizer = hugging.sentences(folder), hugging.byte_level()

    def truth(rows: Any) -> dict[str, Any]:
        states = [asked(model, tokenizer, [text.strip()], length=16).last_hidden_state[0] for text in rows]
        pooled = torch.stack([state.mean(0) for state in states])
        return {"sentence_embedding": torch.nn.functional.normalize(pooled, dim=1).numpy()}

    return Specimen(folder, TEXTS, truth)


def photos(family: str) -> Callable[[Path], Specimen]:
    def make(folder: Path) -> Specimen:
        model = hugging.pictures(folder, family)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        return Specimen(folder, PICTURES, lambda rows: scores(seen(model, processor, rows).logits))

    return make


ZOO: Mapping[str, Callable[[Path], Specimen]] = {
    "sentiment": sentiment, "entailment": entailment, "topics": topics, "entities": entities, "sentences": sentences,
    "vit": photos("vit"), "resnet": photos("resnet"), "convnext": photos("convnext"),
}  # fmt: skip


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    with keeping(tmp_path_factory.mktemp("zoo")) as made:
        yield made


@pytest.mark.parametrize("name", ZOO)
def test_served_as_trained(name: str, keeper: Keeper, tmp_path: Path) -> None:
    keeper.check(name, ZOO[name](tmp_path))
