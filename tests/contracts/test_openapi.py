"""Schemathesis makes requests out of the OpenAPI documents, and holds a real server to what they say."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from client_envs import client_python
from fakehouse import echo, iris, people, review
from furnished import furnish

from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.tensors import BY_NAME

pytestmark = pytest.mark.slow
PINS = ("schemathesis==4.32.5", "openapi-spec-validator==0.9.0")
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "allow_header_conformance",
)  # fmt: skip
# A 501 is what the original answers to what it has and we do not, a 503 what a model's state is told with: both are
# in the document, and Schemathesis would call either a server error.
REFUSALS = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "501", "503"]\n'


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server(Settings(port=0, admin_port=0, model_control="explicit"))
    models = [echo(BY_NAME[name]) for name in ("uint8", "string")]
    furnish(made.house, *models, iris(), people(), review())
    with made.start():
        yield made


@pytest.fixture(scope="module")
def schemathesis() -> Path:
    return client_python("schemathesis", *PINS).parent


def run(command: list[str], folder: Path) -> None:
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=580)
    assert told.returncode == 0, told.stdout[-8000:] + told.stderr[-2000:]


@pytest.mark.parametrize("path", ["/openapi.json", "/openapi/iris.json", "/openapi/people.json"])
def test_the_document_is_openapi(server: Server, schemathesis: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "openapi.json").write_text(requests.get(f"{server.admin_url}{path}", timeout=30).text)
    run([str(schemathesis / "openapi-spec-validator"), "openapi.json"], tmp_path)


@pytest.mark.parametrize("model", ["iris", "people", "review", "echo-string"])
def test_no_answer_is_another_than_the_document_says(
    server: Server, schemathesis: Path, tmp_path: Path, model: str
) -> None:
    (tmp_path / "schemathesis.toml").write_text(REFUSALS)
    command = [str(schemathesis / "schemathesis"), "run", f"{server.admin_url}/openapi/{model}.json"]
    command += [
        "--url",
        server.url,
        "--checks",
        ",".join(CHECKS),
        "--max-examples",
        "25",
        "--phases",
        "examples,coverage,fuzzing",
    ]
    command += ["--exclude-path-regex", "/unload$", "--seed", "7", "--no-color", "--warnings", "off"]
    run([*command, "--continue-on-failure", "--suppress-health-check", "all"], tmp_path)
