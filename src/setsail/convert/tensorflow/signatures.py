"""Several named signatures of one source: which is the default, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.onnx.fingerprint import fingerprint
from setsail.errors import SetsailError
from setsail.signature import DEFAULT, TensorSpec

__all__ = ["carried"]


def carried(
    takes: Mapping[str, Collection[str]], one: Callable[[str, Intent], Conversion], intent: Intent
) -> Conversion:
    """Convert every signature.

    Args:
        takes: each signature's name -> the names of its inputs.
        one: converts the signature of a name.

    Raises:
        SetsailError: `convert.input` for a signature that is not there, and what converting the default one raises.
            What another one raises becomes a note.
    """
    chosen = _chosen(list(takes), intent.signature)
    stray = tuple(s for s in intent.inputs if not any(s.name in names for names in takes.values()))
    made = one(chosen, replace(intent, inputs=_of(intent, takes[chosen]) + stray))
    others: dict[str, Conversion] = {}
    aliases, notes = {} if chosen == DEFAULT else {chosen: DEFAULT}, []
    for name in sorted(takes.keys() - {chosen}):
        try:
            if name == DEFAULT:
                raise SetsailError("convert.input", f"--signature {chosen} has taken its place")
            another = one(name, replace(intent, example=None, labels=(), inputs=_of(intent, takes[name])))
            twin = next((n for n, known in {DEFAULT: made, **others}.items() if _same(another, known)), None)
            if twin is None:
                others[name] = another
            else:  # Keras exports one function under two names
                aliases[name] = twin
        except SetsailError as fault:
            notes.append(f"signature {name!r} is not carried: {' '.join(fault.what.split())}")
    notes = [f"signature {chosen!r}", *made.notes, *notes]
    return replace(made, others=others, aliases=aliases, notes=tuple(notes))


def _same(one: Conversion, other: Conversion) -> bool:
    """Whether two signatures take and give the same, by the same programs."""
    if one.signature != other.signature or len(one.programs) != len(other.programs):
        return False
    pairs = zip(one.programs, other.programs, strict=True)
    return all(a.variant == b.variant and fingerprint(a.files) == fingerprint(b.files) for a, b in pairs)


def _of(intent: Intent, names: Collection[str]) -> tuple[TensorSpec, ...]:
    return tuple(spec for spec in intent.inputs if spec.name in names)


def _chosen(names: Sequence[str], wanted: str | None) -> str:
    """The name of the default signature."""
    if wanted is None:
        wanted = DEFAULT if DEFAULT in names else names[0] if len(names) == 1 else None
    if wanted is None or wanted not in names:
        what = f"no signature {wanted!r}" if wanted else "several signatures and none is the default"
        raise SetsailError("convert.input", f"the source has {what}", field="--signature", value=wanted,
                           expected="one of " + ", ".join(names), todo="pass --signature NAME")  # fmt: skip
    return wanted
