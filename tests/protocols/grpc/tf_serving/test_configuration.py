"""The list of models, as text and as a message."""

from __future__ import annotations

import pytest

from setsail.catalog import ModelConfig, Policy
from setsail.errors import SetsailError
from setsail.protocols.grpc.tf_serving.configuration import read_text

TEXT = """
# three models
model_config_list: {
  config: {
    name: "first", base_path: "/models/first", model_platform: "tensorflow"
    model_version_policy: { specific: { versions: 42 versions: 43 } }
    version_labels: { key: "stable" value: 42 }
    version_labels: { key: 'canary' value: 43 }
  },
  config { name: "second" base_path: "/models/second" model_version_policy { all {} } model_type: TENSORFLOW }
  config { name: "third" base_path: "/models/third" model_version_policy { latest { num_versions: 2 } }
           model_platform: "pytorch" logging_config {} }
  config { name: "fourth" base_path: "/models/fourth" model_version_policy { latest {} } }
}
"""


def test_a_file_of_the_originals() -> None:
    found = read_text(TEXT)
    assert found.models == (
        ModelConfig("first", "/models/first", Policy(specific=(42, 43)), {"canary": 43, "stable": 42}),
        ModelConfig("second", "/models/second", Policy()),
        ModelConfig("third", "/models/third", Policy(latest=2)),
        ModelConfig("fourth", "/models/fourth", Policy(latest=1)),
    )
    assert [note.split()[0] for note in found.notes] == ["model_platform", "logging_config"]
    assert read_text("").models == ()


@pytest.mark.parametrize(
    "text",
    [
        "model_config_list {",
        "model_list {}",
        'model_config_list { config { name: "m" } }',
        'model_config_list { config { base_path: "/m" } }',
        'model_config_list { config { name: "m" base_path: "/m" model_version_policy { specific {} } } }',
        'model_config_list { config { name: "m" base_path: "/m" model_version_policy { specific { versions: 0 } } } }',
        'custom_model_config { type_url: "x" }',
    ],
)
def test_refusals(text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        read_text(text)
    assert caught.value.code == "request.form"
