"""A ModelServerConfig: the list of models that TensorFlow Serving takes as a message, or reads from a file."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from setsail.catalog import ModelConfig, Policy
from setsail.errors import SetsailError
from setsail.protocols.grpc.pool import message

__all__ = ["Configured", "configured", "read_text"]


class Configured(Struct, frozen=True):
    """The models, and what was understood and does not carry over."""

    models: tuple[ModelConfig, ...]
    notes: tuple[str, ...] = ()


def configured(config: Any) -> Configured:
    """A message in our terms. Raises `request.form`."""
    kind = config.WhichOneof("config")
    if kind == "custom_model_config":
        raise _form("the configuration is a custom one", kind, None)
    rows = config.model_config_list.config
    notes = []
    for row in rows:
        if row.model_platform not in ("", "tensorflow"):
            notes.append(f"model_platform of {row.name} is not looked at: a model's file says what it is.")
        if row.HasField("logging_config"):
            notes.append(f"logging_config of {row.name} does not carry over.")
    return Configured(tuple(_model(row) for row in rows), tuple(notes))


def _model(row: Any) -> ModelConfig:
    for field in ("name", "base_path"):
        if not getattr(row, field):
            raise _form(f"a model of the list has no {field}", f"config.{field}", row.name or row.base_path)
    return ModelConfig(row.name, row.base_path, _policy(row), dict(sorted(row.version_labels.items())))


def _policy(row: Any) -> Policy:
    policy = row.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return Policy()
    if kind != "specific":
        return Policy(latest=max(1, policy.latest.num_versions))
    versions = tuple(dict.fromkeys(policy.specific.versions))
    if not versions or min(versions) < 1:
        raise _form(f"the versions of {row.name!r} are no list of positive integers", "model_version_policy.specific",
                    list(versions))  # fmt: skip
    return Policy(specific=versions)


def _form(what: str, field: str, value: Any) -> SetsailError:
    return SetsailError(
        "request.form", what, field=field, value=value,
        expected='model_config_list { config { name: "m" base_path: "/models/m" } }',
    )  # fmt: skip


def read_text(text: str) -> Configured:
    """A file's text, in protobuf's text format. Raises `request.form`, with line and column where it is not that."""
    from google.protobuf import text_format  # here, because only files are text

    config = message("tensorflow.serving.ModelServerConfig")()
    try:
        text_format.Parse(text, config, allow_unknown_field=False)
    except text_format.ParseError as fault:
        raise _form(f"the configuration cannot be read: {fault}", "config", None) from fault
    return configured(config)
