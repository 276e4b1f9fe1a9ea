"""Directories and pipelines converted: what clients see, what is told, and agreement with the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import hugging  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from setsail.convert.conversion import Intent  # noqa: E402
from setsail.convert.registry import convert as convert_live  # noqa: E402
from setsail.convert.transformers import directory, heads  # noqa: E402
from setsail.errors import SetsailError  # noqa: E402
from setsail.signature import TensorSpec  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:transformers.*"),
]
PAIR = Intent(inputs=(TensorSpec.parse("text:string[*]"), TensorSpec.parse("text_pair:string[*]")))


def refused(path: Path, intent: Intent | None = None) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        directory.convert(path, intent or Intent())
    return caught.value


# -- what needs no export -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task"),
    [("BertForSequenceClassification", "text classification"), ("ViTForImageClassification", "image classification"),
     ("DeiTForImageClassificationWithTeacher", "image classification"), ("MPNetModel", "embeddings"),
     ("RobertaForTokenClassification", "token classification")],
)  # fmt: skip
def test_tasks_by_the_names_of_architectures(name: str, task: str) -> None:
    assert heads.task_of(name).name == task


@pytest.mark.parametrize(
    ("name", "code"),
    [("BertForMaskedLM", "convert.unsupported"), ("BertForQuestionAnswering", "convert.unsupported"),
     ("DetrForObjectDetection", "convert.unsupported"), ("LlamaForCausalLM", "source.llm"),
     ("GPT2LMHeadModel", "source.llm"), ("T5ForConditionalGeneration", "source.llm")],
)  # fmt: skip
def test_other_tasks_are_refused_by_name(name: str, code: str) -> None:
    with pytest.raises(SetsailError) as caught:
        heads.task_of(name)
    assert caught.value.code == code
    assert name in caught.value.what


def test_labels_are_the_models_own_or_the_persons() -> None:
    config = transformers.BertConfig(**hugging.labels())
    assert heads.names(config, ()) == hugging.LABELS
    assert heads.names(config, ("a", "b", "c")) == ("a", "b", "c")
    for wrong in (("a", "b"), ("a", "b", "b")):
        with pytest.raises(SetsailError) as caught:
            heads.names(config, wrong)
        assert caught.value.code == "convert.input"


def test_weights_that_are_missing_are_not_drawn_at_random(tmp_path: Path) -> None:
    hugging.bert(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({n: w for n, w in weights.items() if n != "classifier.weight"}, tmp_path / "model.safetensors")
    fault = refused(tmp_path)
    assert fault.code == "source.load"
    assert "classifier.weight" in str(fault.value)


def test_an_architecture_that_does_not_exist(tmp_path: Path) -> None:
    hugging.bert(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["InventedForSequenceClassification"]}))
    assert refused(tmp_path).field == "architectures"


def test_inputs_are_the_directorys(tmp_path: Path) -> None:
    hugging.bert(tmp_path)
    fault = refused(tmp_path, Intent(inputs=(TensorSpec.parse("input_ids:int64[*,*]"),)))
    assert fault.code == "convert.input"
    assert '"text:string[*]"' in str(fault.expected)


def test_a_damaged_file_is_no_traceback(tmp_path: Path) -> None:
    hugging.bert(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:5000])
    assert refused(tmp_path).code == "source.load"


@pytest.mark.parametrize(
    ("change", "field"),
    [({"modules.json": [{"path": "", "type": "sentence_transformers.models.Transformer"},
                        {"path": "../..", "type": "sentence_transformers.models.Pooling"}]}, "modules.json"),
     ({"modules.json": [{"path": "", "type": "mine.Transformer"}]}, "modules.json"),
     ({"modules.json": [{"path": "", "type": "sentence_transformers.models.Transformer"},
                        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                        {"path": "2", "type": "sentence_transformers.models.LSTM"}]}, "modules.json"),
     ({"1_Pooling/config.json": {"pooling_mode_lasttoken": True}}, "pooling_mode"),
     ({"config_sentence_transformers.json": {"default_prompt_name": "query", "prompts": {"query": "query: "}}},
      "default_prompt_name")],
)  # fmt: skip
def test_sentence_transformers_that_do_what_we_do_not(change: dict[str, Any], field: str, tmp_path: Path) -> None:
    hugging.sentences(tmp_path)
    for name, body in change.items():
        (tmp_path / name).write_text(json.dumps(body))
    fault = refused(tmp_path)
    assert (fault.code, fault.field) == ("convert.unsupported", field)


@pytest.mark.parametrize(
    ("kind", "config"),
    [("T5Model", lambda: transformers.T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=150)),
     ("Wav2Vec2ForSequenceClassification", lambda: transformers.Wav2Vec2Config(
         hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, conv_dim=(8,),
         conv_stride=(5,), conv_kernel=(10,), num_feat_extract_layers=1, num_conv_pos_embedding_groups=2))],
)  # fmt: skip
def test_models_of_other_inputs(kind: str, config: Any, tmp_path: Path) -> None:
    hugging.model(kind, config(), tmp_path, hugging.word_pieces())
    fault = refused(tmp_path)
    assert (fault.code, fault.field) == ("convert.unsupported", "architectures")


def test_tokens_cannot_be_told_from_padding(tmp_path: Path) -> None:
    hugging.bert(tmp_path, "BertModel")
    hugging.word_pieces(model_input_names=["input_ids"]).save_pretrained(tmp_path)
    assert refused(tmp_path).field == "model_input_names"


def test_what_is_live_and_no_model() -> None:
    with pytest.raises(SetsailError) as caught:
        convert_live(hugging.word_pieces(), Intent())
    assert caught.value.code == "convert.unsupported"


# -- with an export -----------------------------------------------------------------------------------------------


def test_a_text_classifier(tmp_path: Path, agrees: Any) -> None:
    model = hugging.bert(tmp_path)
    made = directory.convert(tmp_path, Intent())
    assert str(made.signature) == "(text:string[N]) -> (label:string[N], probabilities:float32[N,3])"
    assert (made.framework, made.kind, made.signature.defaults) == ("transformers", "classifier", ("label",))
    assert [step.kind for step in made.processing.steps] == ["text.tokenize", "scores.softmax", "scores.label"]
    assert "cut after 24 tokens" in made.notes[0]
    assert made.programs[0].variant.max_batch is None
    rows = made.probes[0].inputs["text"].tolist()
    tokens = hugging.word_pieces()(rows, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        scores = model(**tokens).logits.softmax(-1)
    np.testing.assert_allclose(made.probes[0].outputs["probabilities"], scores.numpy(), atol=1e-5)
    assert made.probes[0].outputs["label"].tolist() == [hugging.LABELS[i] for i in scores.argmax(-1)]
    assert len(set(made.probes[0].outputs["label"].tolist())) > 1
    agrees(made)


@pytest.mark.slow
def test_one_directory_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    hugging.bert(tmp_path)
    first, second = (directory.convert(tmp_path, Intent()) for _ in range(2))
    assert first.programs[0].files == second.programs[0].files
    assert first.processing == second.processing


@pytest.mark.slow
def test_pairs_of_texts(tmp_path: Path, agrees: Any) -> None:
    hugging.bert(tmp_path)
    made = directory.convert(tmp_path, PAIR)
    assert [spec.name for spec in made.signature.inputs] == ["text", "text_pair"]
    agrees(made)


@pytest.mark.slow
def test_several_labels_at_once(tmp_path: Path, agrees: Any) -> None:
    hugging.bert(tmp_path, problem_type="multi_label_classification")
    made = directory.convert(tmp_path, Intent(labels=("a", "b", "c")))
    assert str(made.signature) == "(text:string[N]) -> (probabilities:float32[N,3])"
    assert made.signature.outputs[0].labels == ("a", "b", "c")
    assert not np.allclose(made.probes[0].outputs["probabilities"].sum(1), 1)
    agrees(made)


@pytest.mark.slow
def test_a_regression(tmp_path: Path, agrees: Any) -> None:
    hugging.bert(tmp_path, problem_type="regression", **hugging.labels(("score",)))
    made = directory.convert(tmp_path, Intent())
    assert (made.kind, str(made.signature)) == ("regressor", "(text:string[N]) -> (prediction:float32[N,1])")
    agrees(made)


@pytest.mark.slow
def test_a_label_for_each_token(tmp_path: Path, agrees: Any) -> None:
    hugging.bert(tmp_path, "BertForTokenClassification")
    made = directory.convert(tmp_path, Intent())
    assert str(made.signature) == "(text:string[N]) -> (label:string[N,24], probabilities:float32[N,24,3])"
    label, scores = made.probes[0].outputs["label"], made.probes[0].outputs["probabilities"]
    assert ((label == "") == (scores.sum(-1) == 0)).all()
    assert (label[:, 0] != "").all()
    assert (label == "").any()
    agrees(made)


@pytest.mark.slow
def test_hidden_states_and_a_pooler_only_where_there_are_weights_for_it(tmp_path: Path, agrees: Any) -> None:
    hugging.bert(tmp_path, "BertModel")
    made = directory.convert(tmp_path, Intent())
    assert [spec.name for spec in made.signature.outputs] == ["last_hidden_state", "mask", "pooler_output"]
    agrees(made)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({n: w for n, w in weights.items() if "pooler" not in n}, tmp_path / "model.safetensors")
    bare = directory.convert(tmp_path, Intent())
    assert [spec.name for spec in bare.signature.outputs] == ["last_hidden_state", "mask"]
    assert "pooler_output" in bare.notes[-1]


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "max_tokens"])
def test_sentence_embeddings(pooling: str, tmp_path: Path, agrees: Any) -> None:
    model = hugging.sentences(tmp_path, pooling=pooling, lower=True)
    made = directory.convert(tmp_path, Intent())
    assert str(made.signature) == "(text:string[N]) -> (sentence_embedding:float32[N,32])"
    rows = [text.strip().lower() for text in made.probes[0].inputs["text"].tolist()]
    tokens = hugging.byte_level()(rows, padding=True, truncation=True, max_length=16, return_tensors="pt")
    with torch.no_grad():
        states, mask = model(**tokens).last_hidden_state, tokens["attention_mask"]
    pooled = {
        "mean_tokens": torch.stack([s[m == 1].mean(0) for s, m in zip(states, mask, strict=True)]),
        "max_tokens": torch.stack([s[m == 1].amax(0) for s, m in zip(states, mask, strict=True)]),
        "cls_token": states[:, 0],
    }[pooling]
    expected = torch.nn.functional.normalize(pooled, dim=1).numpy()
    np.testing.assert_allclose(made.probes[0].outputs["sentence_embedding"], expected, atol=1e-5)
    agrees(made)


@pytest.mark.slow
def test_pickled_weights(tmp_path: Path) -> None:
    hugging.bert(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    plain = directory.convert(tmp_path, Intent())
    (tmp_path / "model.safetensors").unlink()
    assert refused(tmp_path).code == "source.load"
    assert directory.convert_pickled(tmp_path, Intent()).programs[0].files == plain.programs[0].files


@pytest.mark.slow
def test_a_live_pipeline_and_a_bare_model(tmp_path: Path, agrees: Any) -> None:
    model = hugging.bert(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    made = convert_live(transformers.pipeline("text-classification", model=model, tokenizer=tokenizer), Intent())
    assert str(made.signature) == "(text:string[N]) -> (label:string[N], probabilities:float32[N,3])"
    agrees(made)
    tokens = {n: t.numpy() for n, t in tokenizer(["a cat", "a dog"], return_tensors="pt").items()}
    bare = convert_live(model, Intent(example=tokens))
    assert [s.name for s in bare.signature.outputs] == ["logits"]


@pytest.mark.slow
def test_example_rows_are_asked_as_they_are(tmp_path: Path) -> None:
    hugging.bert(tmp_path)
    made = directory.convert(tmp_path, Intent(example=["a cat", "a dog"]))
    assert made.probes[0].what == "example"
    assert made.probes[0].inputs["text"].tolist() == ["a cat", "a dog"]
