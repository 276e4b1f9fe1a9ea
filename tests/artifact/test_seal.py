"""The seal binds one manifest."""

import hashlib

import pytest

from setsail.artifact import seal
from setsail.errors import SetsailError


def test_a_seal_is_of_its_manifest() -> None:
    assert seal.check(seal.dump(b"{}"), b"{}") == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (seal.dump(b"[]"), "artifact.seal"),
        (b"{}", "artifact.seal"),
        (b"[]", "artifact.seal"),
        (seal.dump(b"{}").replace(b"[]", b"[1]"), "artifact.seal"),
        (seal.dump(b"{}") + b"\n", "artifact.json"),
        (seal.dump(b"{}").replace(b"[]", b"[[[[[]]]]]"), "artifact.json"),
    ],
)
def test_another_seal(content: bytes, code: str) -> None:
    with pytest.raises(SetsailError) as caught:
        seal.check(content, b"{}")
    assert caught.value.code == code
