"""Directories as transformers writes them, with tiny models of random weights and a vocabulary trained here."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

__all__ = ["LABELS", "bert", "byte_level", "model", "pictures", "sentences", "word_pieces"]

SENTENCES = (
    "The cat sat on the mat, and the dog ran away.", "A good film; a bad film? Great acting!",
    "Weather today is nice: 25 degrees, no rain.", "naïve cafés in Łódź", "Привет, мир", "Who wrote this, and why?",
)  # fmt: skip
LABELS = ("negative", "neutral", "positive")


@cache  # training breaks ties by chance, so that two trainings give two vocabularies
def _word_pieces() -> str:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=160, show_progress=False,
                                        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])  # fmt: skip
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return str(tokenizer.to_str())


def word_pieces(**options: Any) -> Any:
    """A tokenizer as BERT's: lower-cased word pieces, with types for pairs."""
    tokenizer = Tokenizer.from_str(_word_pieces())
    told = {"model_max_length": 24, "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]} | options
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", **told,
    )  # fmt: skip


@cache
def _byte_level() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=320, show_progress=False, special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return str(tokenizer.to_str())


def byte_level(**options: Any) -> Any:
    """A tokenizer as RoBERTa's: pieces of bytes, in which a space before a word is part of it."""
    tokenizer = Tokenizer.from_str(_byte_level())
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", cls_token="<s>", sep_token="</s>",
        bos_token="<s>", eos_token="</s>", **options,
    )  # fmt: skip


def labels(names: tuple[str, ...] = LABELS) -> dict[str, Any]:
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {n: i for i, n in enumerate(names)},
    }


SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
}  # fmt: skip
TINY: dict[str, Any] = SIZES | {"max_position_embeddings": 24, "initializer_range": 0.4}


def model(kind: str, config: Any, folder: Path, *parts: Any) -> Any:
    """A model of random weights, saved with its tokenizer or processor. Returns it in eval mode."""
    torch.manual_seed(7)
    made = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():  # nothing may be zero or one: that would hide what is left out
            if weight.ndim == 1:
                weight.add_(torch.randn_like(weight) * 0.1)
            assert name
        for buffer in made.buffers():
            if buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer) * 0.1)
    made.save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)
    return made


def bert(folder: Path, kind: str = "BertForSequenceClassification", **options: Any) -> Any:
    tokenizer = word_pieces()
    config = transformers.BertConfig(vocab_size=len(tokenizer), **{**TINY, **labels(), **options})
    return model(kind, config, folder, tokenizer)


def sentences(folder: Path, *, pooling: str = "mean_tokens", normalize: bool = True, lower: bool = False) -> Any:
    """As sentence-transformers writes it, on the byte-level tokenizer: a text is stripped before."""
    tokenizer = byte_level(model_max_length=22)
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, **TINY
    )
    made = model("RobertaModel", config, folder, tokenizer)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalize else [])]
    (folder / "modules.json").write_text(json.dumps([
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(modules)
    ]))  # fmt: skip
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16, "do_lower_case": lower}))
    (folder / "1_Pooling").mkdir()
    asked = {f"pooling_mode_{name}": name == pooling for name in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 32, **asked}))
    return made


def pictures(folder: Path, family: str, processor: Any = None) -> Any:
    """A classifier of pictures: `vit`, `resnet` or `convnext`."""
    if family == "vit":
        config = transformers.ViTConfig(**SIZES, image_size=32, patch_size=8, initializer_range=0.4, **labels())
        processor = processor or transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
        return model("ViTForImageClassification", config, folder, processor)
    if family == "resnet":
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic",
                                           **labels())  # fmt: skip
        processor = processor or transformers.ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875)
        return model("ResNetForImageClassification", config, folder, processor)
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, patch_size=4,
                                         initializer_range=0.4, **labels())  # fmt: skip
    processor = processor or transformers.ConvNextImageProcessorPil(size={"shortest_edge": 384})
    return model("ConvNextForImageClassification", config, folder, processor)
