"""The seal: the manifest's digest, and in later formats signatures over it (`docs/format.md` §5)."""

from __future__ import annotations

import hashlib

from setsail.artifact.canonical import decode, encode
from setsail.errors import SetsailError

__all__ = ["check", "dump"]


def dump(manifest: bytes) -> bytes:
    return encode({"manifest": hashlib.sha256(manifest).hexdigest(), "signatures": []})


def check(seal: bytes, manifest: bytes) -> str:
    """Hold the seal against the manifest.

    Returns:
        The manifest's SHA-256: the artifact's identity.

    Raises:
        SetsailError: `artifact.seal`, or `artifact.json` when the seal is not canonical JSON.
    """
    digest = hashlib.sha256(manifest).hexdigest()
    if seal == dump(manifest):
        return digest
    body = decode(seal, "the seal", depth=4)
    if not isinstance(body, dict) or set(body) != {"manifest", "signatures"}:
        raise SetsailError("artifact.seal", "the seal has other keys", value=body, expected="manifest, signatures")
    if body["manifest"] != digest:
        raise SetsailError("artifact.seal", "the seal is of another manifest", value=body["manifest"], expected=digest)
    raise SetsailError("artifact.seal", "the seal has signatures that this version cannot check",
                       value=body["signatures"], expected="none", todo="upgrade: pip install -U setsail")  # fmt: skip
