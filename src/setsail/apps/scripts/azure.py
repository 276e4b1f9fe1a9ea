"""An Azure ML scoring script: `init()` once, then `run(raw_data)` for each request with its body as a text.

What `run` returns is written as JSON; a response of Flask's form is passed on. Scripts whose `run` is decorated for
other input (`rawhttp`, `input_schema`) are refused by name: what they take is another package's affair.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from setsail.apps.code import REQUESTS
from setsail.apps.importing import imported
from setsail.apps.scripts.sagemaker import answers
from setsail.errors import SetsailError
from setsail.letters import Letter, Reply
from setsail.tensors import Array

__all__ = ["Script", "load"]

_JSON: Final = "application/json"
_DECORATORS: Final = ("inference_schema", "azureml.contrib.services.aml_request", "azureml_inference_server_http.api")


def load(options: Mapping[str, Any]) -> Script:
    """Import the script and have it initialised. Raises `app.load`, `app.hints`."""
    script = Path(options["script"])
    os.environ |= {
        "AZUREML_MODEL_DIR": options["folder"], "AML_APP_ROOT": str(script.parent), "AZUREML_ENTRY_SCRIPT": script.name,
    }  # fmt: skip
    return Script(vars(imported(script)), script.name)


class Script:
    """See `apps.code.Code`."""

    signature = REQUESTS

    def __init__(self, names: Mapping[str, Any], script: str) -> None:
        for name in ("init", "run"):
            if not callable(names.get(name)):
                raise SetsailError("app.hints", f"{script} has no function {name}", field=script,
                                   expected="def init(): and def run(raw_data):")  # fmt: skip
        if hasattr(names["run"], "__wrapped__") and not sys.modules.keys().isdisjoint(_DECORATORS):
            raise SetsailError("app.hints", f"run of {script} is decorated", field="run",
                               expected="def run(raw_data): which takes the body as a text",
                               todo="take the decorator off, and read the body with json.loads")  # fmt: skip
        names["init"]()
        self._run = names["run"]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return answers([self._answer(Letter.opened(value)) for value in inputs["request"].tolist()])

    def _answer(self, letter: Letter) -> Reply:
        answer = self._run(b"".join(part.data for part in letter.fields).decode())
        if hasattr(answer, "get_data"):
            return Reply(bytes(answer.get_data()), {"content-type": answer.mimetype or _JSON}, answer.status_code)
        return Reply(json.dumps(answer).encode(), {"content-type": _JSON})
