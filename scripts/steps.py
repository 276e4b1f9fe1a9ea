"""Writes tests/steps/*.json: what each kind of step gives, as told by the libraries it follows and not by ours.

A case is a step with its options and files, the arrays it is given, and those it gives or the fault it raises; every
implementation of steps has to pass them all (`tests/contracts/test_steps.py`, and what runs models in a browser).
The files are kept in the repository; run this again when a kind or an option is added.
"""

from __future__ import annotations

import json
import warnings
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import special
from sklearn.feature_extraction.text import strip_accents_ascii, strip_accents_unicode
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.image_transforms import center_crop, convert_to_rgb, normalize, rescale
from transformers.image_transforms import get_resize_output_image_size as by_shortest
from transformers.image_transforms import get_size_with_aspect_ratio as within

FOLDER = Path(__file__).parents[1] / "tests/steps"
EXACT, CLOSE = {"absolute": 0, "relative": 0}, {"absolute": 1e-7, "relative": 1e-6}
JPEG = {"absolute": 3, "relative": 0}  # decoders round differently
RNG = np.random.default_rng(7)
Case = dict[str, Any]


def array(values: Any, dtype: str | None = None) -> Case:
    made = np.asarray(values, dtype=dtype)
    if made.dtype.kind in "OUS":
        return {
            "dtype": "string",
            "shape": list(made.shape),
            "data": [None if v is None else str(v) for v in made.flat],
        }
    return {"dtype": made.dtype.name, "shape": list(made.shape), "data": [_number(v) for v in made.ravel().tolist()]}


def _number(value: Any) -> Any:
    """JSON has no word for these."""
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def files(*contents: bytes) -> Case:
    return {"dtype": "bytes", "shape": [len(contents)], "data": [b64encode(c).decode() for c in contents]}


def images(*pictures: np.ndarray) -> Case:
    return {"dtype": "images", "shape": [len(pictures)], "data": [array(p) for p in pictures]}


def case(what: str, options: Mapping[str, Any], inputs: Sequence[Case], outputs: Sequence[Case], **more: Any) -> Case:
    return {"what": what, "options": dict(options), "inputs": list(inputs), "outputs": list(outputs),
            "tolerance": EXACT} | more  # fmt: skip


def fault(what: str, options: Mapping[str, Any], inputs: Sequence[Case], code: str, row: int, **more: Any) -> Case:
    return {"what": what, "options": dict(options), "inputs": list(inputs), "fault": {"code": code, "row": row}} | more


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A gradient with an edge and a little noise: what resampling filters differ in."""
    down, across = np.mgrid[0:height, 0:width]
    base = (down * 255 / max(1, height - 1) + across * 90 / width)[..., None] * np.linspace(0.4, 1, channels)
    base = np.where(across[..., None] > width // 2, 255 - base, base) + RNG.integers(-20, 20, base.shape)
    return np.clip(base, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, form: str, **more: Any) -> bytes:
    image, out = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels), BytesIO()
    image.save(out, form, **more)
    return out.getvalue()


# -- texts -------------------------------------------------------------------------------------------------------------


def text_normalize() -> Iterator[Case]:
    texts = ["Édité Œ ½", "ÀB İ ΣΑΣ", "", "plain"]
    ways = {None: str, "ascii": strip_accents_ascii, "unicode": strip_accents_unicode}
    for lower in (True, False):
        for name, strip in ways.items():
            given = array([*texts, None])
            made = [strip(t.lower() if lower else t) for t in texts]
            yield case(f"lowercase {lower}, strip_accents {name}", {"lowercase": lower, "strip_accents": name},
                       [given], [array([*made, None])])  # fmt: skip
    yield case("white space around", {"strip": True, "lowercase": True}, [array(["  A b\t\n", "\u3000c\xa0", " "])],
               [array(["a b", "c", ""])])  # fmt: skip


def word_pieces() -> str:
    words = ["the", "a", "cat", "dog", "sat", "on", "mat", "un", "##able", "##s", "good", "bad", ".", "!"]
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=99)  # what a file says of padding and truncation does not count
    tokenizer.enable_truncation(4)
    return tokenizer.to_str()


def byte_pairs() -> str:
    pieces = ["<pad>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "th", "the", "Ġc", "Ġca", "Ġcat"]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "c"), ("Ġc", "a"), ("Ġca", "t")]
    tokenizer = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer.to_str()


def text_tokenize() -> Iterator[Case]:
    bert, gpt = word_pieces(), byte_pairs()
    texts, others = ["The cat sat.", "unable dogs!", "", "Ünknown"], ["a mat", "good", "bad bad bad", "."]
    for what, source, given, options in (
        ("word pieces", bert, [texts], {}),
        ("pairs", bert, [texts, others], {"max_length": 7}),
        ("cut to a length", bert, [texts], {"max_length": 4}),
        ("cut on the left", bert, [texts], {"max_length": 4, "truncate_side": "left"}),
        ("padded to a length", bert, [texts], {"pad_to": 9}),
        ("padded on the left", bert, [texts], {"pad_to": 9, "pad_side": "left", "pad_id": 1, "pad_type": 2}),
        ("byte pairs", gpt, [["the cat", "é🙂", " the"]], {}),
    ):
        name, told = "tokenizer.json", dict(options)
        pad = ["[PAD]", "[UNK]"][told["pad_id"]] if "pad_id" in told else "[PAD]" if source is bert else "<pad>"
        judge = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(source), pad_token=pad, padding_side=told.get("pad_side", "right"),
            truncation_side=told.get("truncate_side", "right"),
        )  # fmt: skip
        judge._pad_token_type_id = told.get("pad_type", 0)
        least = {"padding": "max_length", "max_length": told["pad_to"]} if "pad_to" in told else {"padding": True}
        if "max_length" in told:
            least |= {"max_length": told["max_length"], "truncation": True}
        found = judge(*given, return_token_type_ids=True, return_attention_mask=True, **least)
        made = [array(found[k], "int64") for k in ("input_ids", "attention_mask", "token_type_ids")]
        yield case(what, {"file": name, "makes": ["ids", "mask", "types"]} | told, [array(g) for g in given], made,
                   files={name: source})  # fmt: skip
    plain = {"file": "tokenizer.json", "makes": ["ids"]}
    yield fault("a text that is too long", plain | {"max_characters": 5}, [array(["a cat", "a cat!"])], "input.text", 1,
                files={"tokenizer.json": bert})  # fmt: skip
    yield fault("a text without tokens", plain, [array(["the", ""])], "input.text", 1, files={"tokenizer.json": gpt})
    yield fault("a missing text", plain, [array([None])], "input.text", 0, files={"tokenizer.json": bert})


# -- images ------------------------------------------------------------------------------------------------------------


def image_decode() -> Iterator[Case]:
    colours, grey, sheer = picture(5, 7), picture(4, 6, 1), picture(5, 3, 4)
    for form in ("PNG", "BMP"):
        yield case(form, {"mode": "RGB"}, [files(encoded(colours, form))], [images(colours)])
    lossless = encoded(colours, "WEBP", lossless=True)
    yield case("WebP without loss", {"mode": "RGB"}, [files(lossless)], [images(colours)])
    yield case("grey as colours", {"mode": "RGB"}, [files(encoded(grey, "PNG"))], [images(grey.repeat(3, axis=2))])
    yield case("two of different sizes", {"mode": "L"}, [files(encoded(grey, "PNG"), encoded(grey[:2], "BMP"))],
               [images(grey, grey[:2])])  # fmt: skip
    luma = (colours.astype(np.int64) @ [19595, 38470, 7471] + 0x8000 >> 16).astype(np.uint8)[..., None]
    yield case("colours as grey", {"mode": "L"}, [files(encoded(colours, "PNG"))], [images(luma)])
    yield case("alpha dropped", {"mode": "RGB"}, [files(encoded(sheer, "PNG"))], [images(sheer[..., :3])])
    white = convert_to_rgb(Image.fromarray(sheer), return_numpy=True)
    yield case("alpha on white", {"mode": "RGB", "alpha": "white"}, [files(encoded(sheer, "PNG"))], [images(white)])
    few = Image.fromarray(colours).quantize(8)
    held = BytesIO()
    few.save(held, "GIF")
    yield case("GIF, the first picture", {"mode": "RGB"}, [files(held.getvalue())],
               [images(np.asarray(Image.open(held).convert("RGB")))])  # fmt: skip
    smooth = np.clip(np.mgrid[0:16, 0:16].sum(0)[..., None] * [6, 4, 8], 0, 255).astype(np.uint8)
    jpeg = encoded(smooth, "JPEG", quality=95, subsampling=0)
    yield case("JPEG", {"mode": "RGB"}, [files(jpeg)], [images(np.asarray(Image.open(BytesIO(jpeg))))], tolerance=JPEG)
    for turn, turned in _turned(colours):
        yield case(f"EXIF orientation {turn}", {"mode": "RGB", "rotate": True}, [files(turned)],
                   [images(np.asarray(_upright(turned)))])  # fmt: skip
    yield case("an orientation nobody asked about", {"mode": "RGB"}, [files(turned)], [images(colours)])
    yield case("as many pixels as may be", {"mode": "RGB", "max_pixels": 35}, [files(encoded(colours, "PNG"))],
               [images(colours)])  # fmt: skip
    yield from _no_images(colours, jpeg)


def _turned(colours: np.ndarray) -> Iterator[tuple[int, bytes]]:
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield turn, encoded(colours, "PNG", exif=exif)


def _upright(raw: bytes) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.exif_transpose(Image.open(BytesIO(raw)))


def _no_images(colours: np.ndarray, jpeg: bytes) -> Iterator[Case]:
    good, plain = encoded(colours, "PNG"), {"mode": "RGB"}
    deep = BytesIO()
    Image.fromarray(np.full((2, 2), 40000, np.uint16)).save(deep, "PNG")
    for what, options, bad in (
        ("more pixels than may be", plain | {"max_pixels": 34}, good),
        ("no bytes", plain, b""),
        ("a text", plain, b"a cat"),
        ("an SVG file", plain, b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>'),
        ("half a PNG", plain, good[: len(good) // 2]),
        ("half a JPEG", plain, jpeg[: len(jpeg) // 2]),
        ("sixteen bits of grey", plain, deep.getvalue()),
        ("a sound", plain, b"RIFF\x24\0\0\0WAVEfmt "),
    ):
        small = encoded(colours[:2, :2], "PNG")
        yield fault(what, options, [files(small, bad)], "input.media", 1)


def image_resize() -> Iterator[Case]:
    wide, tall, grey = picture(9, 14), picture(13, 6), picture(7, 7, 1)
    for name in ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"):
        for size in ((5, 6), (17, 19)):
            yield _resized(f"{name} to {size[0]}x{size[1]}", name, {"height": size[0], "width": size[1]},
                           [(wide, size), (grey, size)])  # fmt: skip
    every = (wide, tall, grey)
    for edge in (5, 7, 20):
        sizes = [by_shortest(p.transpose(2, 0, 1), edge, default_to_square=False) for p in every]
        yield _resized(f"shortest edge {edge}", "bicubic", {"shortest": edge}, list(zip(every, sizes, strict=True)))
        yield _resized(f"shortest edge {edge}, longest at most 10", "bilinear", {"shortest": edge, "longest": 10},
                       [(p, within(p.shape[:2], edge, 10)) for p in every])  # fmt: skip
    sizes = [(5, 8), (8, 3), (8, 8)]  # 9 * 8 / 14 = 5.1, 6 * 8 / 13 = 3.7
    yield _resized("longest edge 8", "bilinear", {"longest": 8}, list(zip(every, sizes, strict=True)))
    narrow = np.zeros((1, 4000, 3), np.uint8)
    yield fault("a line that would become a huge image", {"resample": "nearest", "shortest": 4000},
                [images(grey, narrow)], "input.media", 1)  # fmt: skip


def _resized(what: str, name: str, size: Mapping[str, int], pairs: Sequence[tuple[np.ndarray, Any]]) -> Case:
    made = []
    for pixels, (height, width) in pairs:
        plain = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        made.append(
            np.asarray(plain.resize((width, height), Image.Resampling[name.upper()])).reshape(height, width, -1)
        )
    return case(what, {"resample": name} | dict(size), [images(*(p for p, _ in pairs))], [images(*made)])


def image_crop() -> Iterator[Case]:
    pictures = [picture(6, 9), picture(5, 4), picture(3, 8, 1)]
    for size in ((4, 4), (5, 4), (7, 7), (8, 3), (1, 1)):
        options = {"height": size[0], "width": size[1]}
        made = [center_crop(p, size, input_data_format="channels_last") for p in pictures]
        yield case(f"the middle {size[0]}x{size[1]}", options, [images(*pictures)], [images(*made)])
        made = [_torchvision(p, *size) for p in pictures]
        yield case(f"the even middle {size[0]}x{size[1]}", options | {"middle": "even"}, [images(*pictures)],
                   [images(*made)])  # fmt: skip


def _torchvision(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """`torchvision.transforms.functional.center_crop`, which the environment does not have: pad, then round."""
    short = [max(0, wanted - size) for wanted, size in zip((height, width), pixels.shape, strict=False)]
    padded = np.pad(pixels, [*((s // 2, (s + 1) // 2) for s in short), (0, 0)])
    top, left = (round((size - wanted) / 2.0) for size, wanted in zip(padded.shape, (height, width), strict=False))
    return padded[top : top + height, left : left + width]


def image_scale() -> Iterator[Case]:
    colours = [np.arange(252, dtype=np.uint8).reshape(12, 7, 3), picture(2, 2)]
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    last = {"input_data_format": "channels_last"}
    for what, options in (
        ("a factor", {"factor": 1 / 255}),
        ("a factor, means and deviations", {"factor": 1 / 255, "mean": mean, "std": std}),
        ("means and deviations alone", {"mean": [103.5, 116.3, 123.7], "std": [57.4, 57.1, 58.4]}),
        ("to between -1 and 1", {"factor": 1 / 127.5, "mean": [1.0], "std": [1.0]}),
        ("a mean alone", {"mean": [127.5, 120.0, 1.5]}),
        ("nothing but the dtype", {}),
    ):
        made = []
        for pixels in colours:
            done = rescale(pixels, options["factor"], **last) if "factor" in options else pixels.astype(np.float32)
            if "mean" in options:
                both = [options["mean"], options.get("std", [1.0] * len(options["mean"]))]
                done = normalize(done, *[b * 3 if len(b) == 1 else b for b in both], **last)
            made.append(done)
        yield case(what, options, [images(*colours)], [images(*made)])
    again = [p.astype(np.float32) for p in colours]
    yield case("of what is no longer uint8", {"factor": 0.5, "std": [0.25]}, [images(*again)],
               [images(*(rescale(p, 0.5, **last) / np.float32(0.25) for p in again))])  # fmt: skip


def image_stack() -> Iterator[Case]:
    two, grey = [picture(2, 3), picture(2, 3)], [picture(2, 3, 1), picture(2, 3, 1)]
    both = np.stack(two)
    yield case("channels first", {"layout": "NCHW"}, [images(*two)], [array(both.transpose(0, 3, 1, 2))])
    yield case("channels last", {"layout": "NHWC"}, [images(*two)], [array(both)])
    yield case("no channels", {"layout": "NHW"}, [images(*grey)], [array(np.stack(grey)[..., 0])])
    yield case("as float32", {"layout": "NCHW", "dtype": "float32"}, [images(*two)],
               [array(both.transpose(0, 3, 1, 2), "float32")])  # fmt: skip
    scaled = [p.astype(np.float32) / 2 for p in two]
    yield case("scaled values", {"layout": "NHWC"}, [images(*scaled)], [array(np.stack(scaled))])
    yield fault("different sizes", {"layout": "NCHW"}, [images(two[0], two[1][:1])], "input.media", 1)


# -- tables ------------------------------------------------------------------------------------------------------------


def table_stack() -> Iterator[Case]:
    numbers, whole, truth = [1.5, float("nan"), -2.0], [1, 2**53 + 1, -3], [True, False, True]
    for dtype in ("float32", "float64"):
        columns = [np.array(numbers), np.array(whole), np.array(truth)]
        made = np.stack([c.astype(dtype) for c in columns], axis=1)
        yield case(f"columns as {dtype}", {"dtype": dtype}, [array(c) for c in columns], [array(made)])
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    yield case("a matrix among columns", {"dtype": "float32"}, [array(matrix), array(numbers, "float32")],
               [array(np.column_stack([matrix, np.float32(numbers)]))])  # fmt: skip


def table_levels() -> Iterator[Case]:
    texts, nan = ["b", "c", None, "a"], float("nan")
    yield case("texts", {"levels": ["a", "b"], "dtype": "float32", "unknown": -1, "missing_nan": True},
               [array(texts)], [array([1, -1, nan, 0], "float32")])  # fmt: skip
    yield case("unknown is NaN, missing is it too", {"levels": ["a", "b"], "dtype": "float64", "unknown_nan": True},
               [array(texts)], [array([1, nan, nan, 0], "float64")])  # fmt: skip
    yield case("integers", {"levels": [10, -3], "dtype": "int64", "unknown": 2}, [array([10, 7, -3], "int64")],
               [array([0, 2, 1], "int64")])  # fmt: skip
    yield case("integers in floats, NaN is missing",
               {"levels": [3, 5], "dtype": "int32", "unknown": -1, "missing": -2},
               [array([5.0, 4.0, nan, 3.0, 3.5], "float64")], [array([1, -1, -2, 0, -1], "int32")])  # fmt: skip
    yield case("a text is no integer", {"levels": [1, "1"], "dtype": "int64"}, [array(["1"])], [array([1], "int64")])
    yield fault("unknown, and no word of it", {"levels": ["a", "b"], "dtype": "int64"}, [array(["a", "z"])],
                "input.category", 1)  # fmt: skip


def table_impute() -> Iterator[Case]:
    nan = float("nan")
    yield case("a column", {"value": 0.5}, [array([1, nan, 3], "float32")], [array([1, 0.5, 3], "float32")])
    yield case("a value for each column", {"value": [1.0, 2.0]}, [array([[nan, nan], [5, 6]], "float64")],
               [array([[1, 2], [5, 6]], "float64")])  # fmt: skip
    yield case("a value for each input", {"value": [7.0, 8.0]}, [array([nan, 1.0]), array([2.0, nan])],
               [array([7.0, 1.0]), array([2.0, 8.0])])  # fmt: skip
    yield case("texts", {"value": "none"}, [array(["a", None])], [array(["a", "none"])])
    yield case("integers have no holes", {"value": 3.0}, [array([1, 2], "int64")], [array([1, 2], "int64")])


# -- scores and values -------------------------------------------------------------------------------------------------

SCORES = np.array([[1.0, -2.0, 0.5], [1000.0, 1001.0, 1000.0], [0.0, 0.0, 0.0], [-1e30, 3.25, 3.0]])


def scores_softmax() -> Iterator[Case]:
    for dtype in ("float32", "float64"):
        made = special.softmax(SCORES.astype(dtype), axis=-1)
        yield case(dtype, {}, [array(SCORES, dtype)], [array(made, dtype)], tolerance=CLOSE)
    deep = SCORES.reshape(2, 2, 3)
    yield case("for every token", {}, [array(deep)], [array(special.softmax(deep, axis=-1))], tolerance=CLOSE)


def scores_sigmoid() -> Iterator[Case]:
    for dtype in ("float32", "float64"):
        made = special.expit(SCORES.astype(dtype))
        yield case(dtype, {}, [array(SCORES, dtype)], [array(made, dtype)], tolerance=CLOSE)
    yield case("a value a row", {}, [array([-0.5, 0.0, 40.0])], [array(special.expit([-0.5, 0.0, 40.0]))],
               tolerance=CLOSE)  # fmt: skip


def scores_pair() -> Iterator[Case]:
    second = np.array([0.0, 0.1, 0.75, 1.0], np.float32)
    both = np.column_stack([np.float32(1) - second, second])
    yield case("a value a row", {}, [array(second)], [array(both)])
    yield case("a column", {}, [array(second[:, None])], [array(both)])


def scores_one() -> Iterator[Case]:
    yield case("the second class", {"position": 1}, [array(SCORES)], [array(SCORES[:, 1])])
    yield case("for every token", {"position": 2}, [array(SCORES.reshape(2, 2, 3))],
               [array(SCORES.reshape(2, 2, 3)[..., 2])])  # fmt: skip


def scores_label() -> Iterator[Case]:
    yield case("texts; the first of equals", {"labels": ["x", "y", "z"]}, [array(SCORES)],
               [array(["x", "y", "x", "y"])])  # fmt: skip
    yield case("integers", {"labels": [7, -1, 0]}, [array(SCORES, "float32")], [array([7, -1, 7, -1], "int64")])
    yield case("for every token", {"labels": ["x", "y", "z"]}, [array(SCORES.reshape(2, 2, 3))],
               [array([["x", "y"], ["x", "y"]])])  # fmt: skip


def scores_top() -> Iterator[Case]:
    scores = np.array([[0.1, 0.7, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.0, 0.2, 0.5, 0.3]], np.float32)
    yield case("two of four, the first of equals first", {"k": 2, "labels": ["a", "b", "c", "d"]}, [array(scores)],
               [array(np.float32([[0.7, 0.1], [0.25, 0.25], [0.5, 0.3]])),
                array([["b", "a"], ["a", "b"], ["c", "d"]])])  # fmt: skip
    yield case("all, integers", {"k": 4, "labels": [4, 3, 2, 1]}, [array(scores[2:])],
               [array(np.float32([[0.5, 0.3, 0.2, 0.0]])), array([[2, 1, 3, 4]], "int64")])  # fmt: skip


def scores_threshold() -> Iterator[Case]:
    yield case("at itself is below", {"at": 0.5, "labels": ["no", "yes"]}, [array([0.4, 0.5, 0.6])],
               [array(["no", "no", "yes"])])  # fmt: skip
    yield case("the threshold is rounded as the scores are", {"at": 0.3, "labels": [0, 1]},
               [array(np.float32([0.3, np.nextafter(np.float32(0.3), np.float32(1))]))],
               [array([0, 1], "int64")])  # fmt: skip
    both = array([[1.0, -1.0], [float("nan"), 2.0]])
    yield case("a label for each class", {"at": 0, "labels": ["off", "on"]}, [both],
               [array([["on", "off"], ["off", "on"]])])  # fmt: skip


def values_scale() -> Iterator[Case]:
    values = np.array([0.1, -2.0, 3.5])
    yield case("a factor and an offset", {"factor": 2.5, "offset": 10}, [array(values)], [array(values * 2.5 + 10)])
    narrow = values.astype(np.float32)
    yield case("rounded once, to the values' dtype", {"factor": 0.1, "offset": 1 / 3}, [array(narrow)],
               [array((narrow.astype(np.float64) * 0.1 + 1 / 3).astype(np.float32))])  # fmt: skip
    two = np.array([[1.0, 2.0], [3.0, 4.0]])
    yield case("one a column", {"factor": [2.0, 3.0], "offset": [1, -1]}, [array(two)],
               [array(two * [2.0, 3.0] + [1, -1])])  # fmt: skip
    yield case("integers become doubles", {"factor": 0.5}, [array([1, 2], "int64")], [array([0.5, 1.0])])


def values_map() -> Iterator[Case]:
    values = np.array([0.25, 1.0, 3.0, -0.5, float("inf")])
    for name in ("exp", "expm1", "log", "log1p", "square", "sqrt"):
        for dtype in ("float32", "float64"):
            given = values.astype(dtype)
            with np.errstate(all="ignore"):
                made = getattr(np, name)(given.astype(np.float64)).astype(dtype)
            yield case(f"{name}, {dtype}", {"function": name}, [array(given)], [array(made)], tolerance=CLOSE)


KINDS = (
    text_normalize, text_tokenize, image_decode, image_resize, image_crop, image_scale, image_stack, table_stack,
    table_levels, table_impute, scores_softmax, scores_sigmoid, scores_pair, scores_one, scores_label,
    scores_top, scores_threshold, values_scale, values_map,
)  # fmt: skip


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    warnings.simplefilter("ignore")
    for kind in KINDS:
        name = kind.__name__.replace("_", ".", 1)
        lines = ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in kind())
        (FOLDER / f"{name}.json").write_text(f'{{"kind":"{name}","cases":[\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
