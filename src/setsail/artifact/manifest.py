"""The manifest: `docs/format.md` §4. Read, check, construct are separate; nothing is built from an unchecked value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from setsail.artifact import schema
from setsail.artifact.canonical import decode, encode, spelled
from setsail.artifact.draft import Draft, Facet
from setsail.artifact.layout import SIGNATURES, STEPS, Limits
from setsail.errors import SetsailError
from setsail.parity import ParityReport
from setsail.signature import CONTENTS, DEFAULT, Signature
from setsail.steps import Processing
from setsail.tensors import BY_NAME
from setsail.variants import FORMATS, Variant

__all__ = ["FEATURES", "FORMAT", "MOST_SIGNATURES", "NAME", "aliases", "check", "check_signature", "dump",
           "folder_of", "others", "parse", "processing_of", "signature_of", "turned", "variants_of"]  # fmt: skip

# To change the format: see the end of docs/format.md §4. A feature added here is written as `<feature>@<version>`.
FORMAT: Final = 1
FEATURES: Final[frozenset[str]] = frozenset()
MOST_SIGNATURES: Final = 64

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"

_NAME = schema.matching(NAME, "letters, digits, '.', '_', '-', at most 128")
_DIGEST = schema.matching(r"[0-9a-f]{64}", "64 hexadecimal digits")
_TEXTS = schema.listed(schema.text)
_STRINGS = schema.mapped(schema.text)


def _dim(path: str, value: Any) -> None:
    if isinstance(value, str):
        if not value or len(value) > 128:
            schema.refuse(path, "is no symbol", value, "1 to 128 letters")
        return
    schema.integer(0)(path, value)


_TENSOR = schema.record(
    {"name": schema.text, "dtype": schema.choice(*BY_NAME), "shape": schema.listed(_dim)},
    {
        "columns": _TEXTS,
        "categories": _TEXTS,
        "labels": _TEXTS,
        "closed": schema.truth,
        "nullable": schema.truth,
        "content": schema.choice(*CONTENTS),
    },
)
_SIGNATURE = schema.record({"inputs": schema.listed(_TENSOR, 1), "outputs": schema.listed(_TENSOR, 1)})
_VARIANT = schema.record(
    {
        "id": _NAME,
        "format": schema.text,  # unknown ones are `artifact.requires`, see _check_features
        "precision": schema.choice("float32", "float64"),
        "entry": schema.text,
        "settings": schema.free_object,
        "max_batch": schema.nullable(schema.integer(1)),
    }
)
_STEP = schema.record(
    {
        "kind": schema.text, "inputs": schema.listed(schema.text, 1), "outputs": _TEXTS,
        "options": schema.free_object,
    }
)  # fmt: skip
_PROGRAM = schema.record(
    {
        "inputs": schema.listed(_TENSOR, 1),
        "outputs": schema.listed(_TENSOR, 1),
        "defaults": schema.listed(schema.text, 1),
    }
)
_COUNT = schema.integer(0)
_CHECK = schema.record(
    {
        "what": schema.text, "batch": _COUNT, "rows": _COUNT, "failed": _COUNT, "worst": schema.number,
        "worst_output": schema.text, "worst_row": _COUNT, "allowed": _COUNT, "unexplained": _COUNT,
    }
)  # fmt: skip
_PARITY = schema.record(
    {
        "variant": schema.text, "precision": schema.text, "tolerance": schema.number, "passed": schema.truth,
        "checks": schema.listed(_CHECK), "refused": _TEXTS,
    }
)  # fmt: skip


def _default_output(path: str, value: Any) -> None:
    if not isinstance(value, str):
        schema.listed(schema.text, 2)(path, value)


# What belongs to one signature: the default one's stands at the top of the manifest, another's with the signature.
_OWN: Final = {
    "kind": schema.text,
    "default_output": _default_output,
    "variants": schema.listed(_VARIANT, 1),
    "steps": schema.listed(_STEP),
    "program": schema.nullable(_PROGRAM),
    "parity": _PARITY,
}
_ALIAS = schema.record({"same": schema.text})
_OTHER = schema.record({"inputs": schema.listed(_TENSOR, 1), "outputs": schema.listed(_TENSOR, 1), **_OWN})


def _signatures(path: str, value: Any) -> None:
    schema.mapped(schema.free_object, _NAME)(path, value)
    for name, signature in value.items():
        form = _SIGNATURE if name == DEFAULT else _ALIAS if "same" in signature else _OTHER
        form(f"{path}.{name}", signature)


_MANIFEST = schema.record(
    {
        "format": schema.integer(1),
        "requires": _TEXTS,
        "name": _NAME,
        "version": schema.integer(1),
        "framework": schema.text,
        "versions": _STRINGS,
        "estimator": schema.text,
        "hyperparameters": schema.free_object,
        "signatures": _signatures,
        **_OWN,
        "notes": _TEXTS,
        "members": schema.mapped(schema.record({"sha256": _DIGEST, "length": _COUNT})),
    }
)


# -- writing -------------------------------------------------------------------------------------------------------


def dump(draft: Draft, members: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The manifest of a draft, checked by the rules of the reader, so that nothing unreadable is ever written."""
    body = {
        "format": FORMAT,
        "requires": [],
        "name": draft.name,
        "version": draft.version,
        "framework": draft.framework,
        "versions": dict(draft.versions),
        "estimator": draft.estimator,
        "hyperparameters": spelled(draft.hyperparameters),
        "signatures": {
            DEFAULT: draft.signature.to_json(),
            **{name: other.signature.to_json() | _own_json(other) for name, other in draft.others.items()},
            **{name: {"same": meant} for name, meant in draft.aliases.items()},
        },
        **_own_json(draft),
        "notes": list(draft.notes),
        "members": {name: dict(facts) for name, facts in members.items()},
    }
    data = encode(body)
    check(decode(data, "the manifest"))
    return data


def _own_json(facet: Facet) -> dict[str, Any]:
    defaults = facet.signature.defaults
    return {
        "kind": facet.kind,
        "default_output": defaults[0] if len(defaults) == 1 else list(defaults),
        "variants": [_variant_json(variant) for variant, _ in facet.variants],
        **facet.processing.to_json(),
        "parity": facet.parity.to_json(),
    }


def _variant_json(variant: Variant) -> dict[str, Any]:
    return {
        "id": variant.id, "format": variant.format, "precision": variant.precision, "entry": variant.entry,
        "settings": dict(variant.settings), "max_batch": variant.max_batch,
    }  # fmt: skip


# -- reading -------------------------------------------------------------------------------------------------------


def parse(data: bytes, limits: Limits) -> dict[str, Any]:
    """Bytes to a checked manifest. Raises `artifact.json`, `artifact.requires` or `artifact.field`."""
    body = decode(data, "the manifest", limits.depth)
    check(body)
    return dict(body)


def check(body: Any) -> None:
    """Hold a parsed manifest against the schema, then its parts against each other."""
    schema.free_object("manifest", body)
    _check_features(body)
    _MANIFEST("", body)
    if DEFAULT not in body["signatures"]:
        schema.refuse(f"signatures.{DEFAULT}", "is missing")
    _check_names(body)
    _check_facet("", body)
    for name in others(body):
        _check_facet(f"signatures.{name}.", turned(body, name))


def _check_names(body: Mapping[str, Any]) -> None:
    """Signatures are folders, whose names must differ by more than case, and every such folder is a signature's."""
    names, before = others(body), [DEFAULT]
    for name in (name for name in body["signatures"] if name != DEFAULT):
        check_signature(name, before)
        before.append(name)
    for name, meant in aliases(body).items():
        if meant != DEFAULT and meant not in names:
            schema.refuse(f"signatures.{name}.same", "is no signature", meant, ", ".join([DEFAULT, *names]))
    for member in body["members"]:
        if member.startswith(SIGNATURES) and member.split("/")[1] not in names:
            schema.refuse("signatures", "does not list a signature that has files", member.split("/")[1])


def check_signature(name: str, before: Sequence[str]) -> None:
    """Whether a signature may have this name, beside others. Raises `artifact.field`."""
    _NAME("signatures (a key)", name)
    if name.lower() in [other.lower() for other in before]:
        schema.refuse("signatures", f"has {name!r} twice but for case", [*before, name])
    if len(before) >= MOST_SIGNATURES:
        schema.refuse("signatures", "has too many names", len(before) + 1, f"at most {MOST_SIGNATURES}")


def _check_facet(where: str, body: Mapping[str, Any]) -> None:
    """Hold what belongs to the default signature of this (perhaps turned) manifest against itself."""
    _check_tensors(where.rstrip(".") or f"signatures.{DEFAULT}", body["signatures"][DEFAULT])
    _check_defaults(where, body)
    _check_variants(where, body)
    if body["program"] is not None:
        _check_tensors(f"{where}program", body["program"])
    files = {name.removeprefix(STEPS): b"" for name in body["members"] if name.startswith(STEPS)}
    processing_of(body, files).check(signature_of(body))
    told = body["parity"]["passed"]
    report = ParityReport.from_json(body["parity"])
    if report.passed is not told:
        schema.refuse(f"{where}parity.passed", "contradicts the checks", told, str(report.passed).lower())


def _check_features(body: Mapping[str, Any]) -> None:
    """What only a newer setsail reads, before any key of it is called unknown."""
    schema.record({"format": schema.integer(1), "requires": _TEXTS})(
        "", {key: body[key] for key in ("format", "requires") if key in body}
    )
    if body["format"] != FORMAT:
        _newer(f"it is written in format {body['format']}", f"format {FORMAT}", None)
    for feature in body["requires"]:
        name, _, version = feature.partition("@")
        if name not in FEATURES:
            _newer(f"it needs {name!r}", "a feature of this setsail", version or None)
    if list(body["requires"]) != sorted(set(body["requires"])):
        schema.refuse("requires", "is not sorted", body["requires"])
    for variant in _all_variants(body):
        form = variant.get("format") if isinstance(variant, dict) else None
        if isinstance(form, str) and form not in FORMATS:
            _newer(f"it has a variant in the format {form!r}", ", ".join(FORMATS), None)


def _all_variants(body: Mapping[str, Any]) -> list[Any]:
    """Of every signature, of a manifest that nobody has checked."""
    signatures = body.get("signatures")
    facets = [body, *(signatures.values() if isinstance(signatures, dict) else ())]
    lists = [facet.get("variants") for facet in facets if isinstance(facet, dict)]
    return [variant for variants in lists if isinstance(variants, list) for variant in variants]


def _newer(what: str, expected: str, version: str | None) -> None:
    known = version if version is not None and re.fullmatch(r"[0-9]+(\.[0-9]+){0,3}", version) else None
    todo = f"Upgrade: pip install -U 'setsail>={known}'" if known else None
    reads = f"setsail {known} or later reads it" if known else "a newer setsail reads it"
    raise SetsailError("artifact.requires", f"{what}: {reads}", field="requires", expected=expected, todo=todo)


def _check_tensors(path: str, signature: Mapping[str, Any]) -> None:
    for side in ("inputs", "outputs"):
        names = [tensor["name"] for tensor in signature[side]]
        if len(set(names)) != len(names) or "" in names:
            schema.refuse(f"{path}.{side}", "has an empty name, or one name twice", names)
        for index, tensor in enumerate(signature[side]):
            shape, columns = tensor["shape"], tensor.get("columns", ())
            if columns and (not shape or (isinstance(shape[-1], int) and shape[-1] != len(columns))):
                schema.refuse(f"{path}.{side}[{index}].columns", "does not fit the shape", len(columns), str(shape))
            for key in ("columns", "categories", "labels", "closed", "nullable"):
                if key in tensor and not tensor[key]:
                    schema.refuse(f"{path}.{side}[{index}].{key}", "is empty", tensor[key], "nothing, or a value")


def _check_defaults(where: str, body: Mapping[str, Any]) -> None:
    outputs = [tensor["name"] for tensor in body["signatures"][DEFAULT]["outputs"]]
    defaults = _defaults(body)
    if len(set(defaults)) != len(defaults) or not set(defaults) <= set(outputs):
        schema.refuse(f"{where}default_output", "is no output of the model", list(defaults), ", ".join(outputs))


def _check_variants(where: str, body: Mapping[str, Any]) -> None:
    ids = [variant["id"] for variant in body["variants"]]
    if len({i.lower() for i in ids}) != len(ids):
        schema.refuse(f"{where}variants", "has one id twice", ids)
    for index, variant in enumerate(body["variants"]):
        entry = f"variants/{variant['id']}/{variant['entry']}"
        if entry not in body["members"]:
            schema.refuse(f"{where}variants[{index}].entry", "is no member", variant["entry"], f"a member {entry!r}")
    for name in body["members"]:
        if name.startswith("variants/") and name.split("/")[1] not in ids:
            schema.refuse(f"{where}variants", "does not list a variant that has files", name.split("/")[1],
                          ", ".join(ids))  # fmt: skip


def _defaults(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body["default_output"]
    return (value,) if isinstance(value, str) else tuple(value)


# -- constructing (from a checked manifest only) -----------------------------------------------------------------------


def others(body: Mapping[str, Any]) -> list[str]:
    """The names of the signatures beside `serving_default`, without aliases."""
    return [name for name, told in body["signatures"].items() if name != DEFAULT and "same" not in told]


def aliases(body: Mapping[str, Any]) -> dict[str, str]:
    """Further names of signatures, and whose they are."""
    return {name: str(told["same"]) for name, told in body["signatures"].items() if "same" in told}


def folder_of(name: str) -> str:
    """What the names of another signature's members begin with."""
    return f"{SIGNATURES}{name}/"


def turned(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The manifest as if this other signature were the default and only one, and its members there were."""
    own, folder = body["signatures"][name], folder_of(name)
    return {
        **body,
        **{key: own[key] for key in _OWN},
        "signatures": {DEFAULT: {side: own[side] for side in ("inputs", "outputs")}},
        "members": {n.removeprefix(folder): facts for n, facts in body["members"].items() if n.startswith(folder)},
    }


def signature_of(body: Mapping[str, Any]) -> Signature:
    return Signature.from_json(body["signatures"][DEFAULT], _defaults(body))


def processing_of(body: Mapping[str, Any], files: Mapping[str, bytes | memoryview]) -> Processing:
    return Processing.from_json(body, files)


def variants_of(body: Mapping[str, Any]) -> tuple[Variant, ...]:
    return tuple(
        Variant(v["id"], v["format"], v["precision"], v["entry"], v["settings"], v["max_batch"])
        for v in body["variants"]
    )
