"""Files that are, or pretend to be, images: pixels as Pillow has them, or a fault that says which file and why."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.runtime.steps import column, prepare
from setsail.steps import Step

Image = pytest.importorskip("PIL.Image", reason="needs Pillow")
PIXELS = (np.arange(9 * 12 * 3) * 7 % 256).astype(np.uint8).reshape(9, 12, 3)


def decode(*files: Any, **options: Any) -> np.ndarray:
    return prepare([Step("image.decode", ("photo",), (), {"mode": "RGB"} | options)], {})({"photo": column(files)})[
        "photo"
    ]


def file(form: str, image: Any = None, **more: Any) -> bytes:
    out = BytesIO()
    (image or Image.fromarray(PIXELS)).save(out, form, **more)
    return out.getvalue()


FILES = {form: file(form) for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP")}
ODD = {
    "palette": file("PNG", Image.fromarray(PIXELS).quantize(5)),
    "palette with a hole": file("PNG", Image.fromarray(PIXELS).quantize(5), transparency=bytes([0, 128, 255])),
    "one bit": file("PNG", Image.fromarray(PIXELS).convert("1")),
    "grey and alpha": file("PNG", Image.fromarray(PIXELS).convert("LA")),
    "print colours": file("JPEG", Image.fromarray(PIXELS).convert("CMYK")),
    "grey JPEG": file("JPEG", Image.fromarray(PIXELS).convert("L")),
    "several pictures": file("GIF", save_all=True, append_images=[Image.new("RGB", (12, 9))]),
    "moving WebP": file("WEBP", save_all=True, append_images=[Image.new("RGB", (12, 9))], lossless=True),
}


def read_or_refused(raw: bytes, **options: Any) -> np.ndarray | None:
    """The pixels, or None where the step refused the file as it should; any other exception is a test's failure."""
    try:
        return decode(raw, **options)[0]
    except SetsailError as fault:
        if (fault.code, fault.facts["step"]) != ("input.media", "image.decode"):
            raise
        return None


@pytest.mark.parametrize("name", [*FILES, *ODD])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_as_pillow_converts_it(name: str, mode: str) -> None:
    raw = (FILES | ODD)[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transparency that is lost
        expected = np.asarray(Image.open(BytesIO(raw)).convert(mode))
    (found,) = decode(raw, mode=mode)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected.reshape(9, 12, len(mode)))


@pytest.mark.parametrize("form", ["TIFF", "PPM", "ICO", "EPS", "PDF", "PCX"])
def test_other_formats_are_not_read_at_all(form: str) -> None:
    with pytest.raises(SetsailError) as caught:
        decode(file(form))
    assert caught.value.code == "input.media"
    assert caught.value.expected == "a PNG, JPEG, GIF, BMP or WebP file"


@pytest.mark.parametrize("form", FILES)
def test_every_prefix_of_a_file_is_refused_or_whole(form: str) -> None:
    """Some files end in bytes that no pixel needs; what is read of those is the whole picture."""
    whole = decode(FILES[form])[0]
    for end in range(0, len(FILES[form]), 7):
        found = read_or_refused(FILES[form][:end])
        assert found is None or np.array_equal(found, whole)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_hostile_bytes_are_refused_and_nothing_else_happens(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([*FILES.values(), *ODD.values()])))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    start = data.draw(st.binary(max_size=4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = read_or_refused(start + bytes(raw), max_pixels=1 << 20, rotate=data.draw(st.booleans()))
    assert found is None or (found.ndim == 3 and found.shape[0] * found.shape[1] <= 1 << 20)


def test_a_webp_file_that_claims_a_huge_canvas_is_refused_before_it_is_opened() -> None:
    raw = bytearray(ODD["moving WebP"])
    assert raw[12:16] == b"VP8X"
    raw[24:30] = (16_000).to_bytes(3, "little") * 2
    with pytest.raises(SetsailError) as caught:
        decode(bytes(raw))
    assert (caught.value.code, caught.value.value) == ("input.media", "'16001x16001'")


def test_rows_are_named_as_the_client_counts_them() -> None:
    with pytest.raises(SetsailError) as caught:
        decode(FILES["PNG"], FILES["JPEG"], FILES["PNG"][:50], FILES["GIF"])
    fault = caught.value
    assert (fault.field, fault.facts["row"], fault.facts["step"]) == ("photo", 2, "image.decode")
    assert fault.message.startswith("step image.decode: input 'photo', row 2, is a damaged PNG file")


def test_a_fault_of_a_later_step_names_the_clients_input() -> None:
    steps = [
        Step("image.decode", ("photo",), ("picture",), {"mode": "RGB"}),
        Step("image.stack", ("picture",), ("pixels",), {"layout": "NHWC"}),
    ]
    small = file("PNG", Image.new("RGB", (2, 2)))
    with pytest.raises(SetsailError) as caught:
        prepare(steps, {})({"photo": column([FILES["PNG"], small])})
    assert (caught.value.field, caught.value.facts["step"]) == ("photo", "image.stack")


def test_a_text_is_no_file() -> None:
    with pytest.raises(SetsailError) as caught:
        decode("not bytes")
    assert caught.value.code == "input.media"
