"""`setsail ship --to browser` without a network and without a browser: what is planned, refused and written."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from base64 import b64encode
from pathlib import Path

import numpy as np
import pictured
import pytest
from shell import run

from setsail import targets
from setsail.artifact import Artifact, read
from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.steps import SCHEMAS
from setsail.targets.browser import fitness, planning, proving, runtime, samples
from setsail.targets.browser.declarations import declarations
from setsail.tensors import BY_NAME, NULL

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tarball in the form of the npm package, with other contents; pinned for the test."""
    contents = {name: f"// {name}".encode() for name in runtime.MEMBERS}
    path = tmp_path / "ort.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "SHA512", b64encode(hashlib.sha512(path.read_bytes()).digest()).decode())
    pinned = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in contents.items()}
    monkeypatch.setattr(runtime, "MEMBERS", pinned)
    return path


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return pictured.artifact(tmp_path / "picture.setsail")


def shipped(opened: Artifact, folder: Path, ort: Path, **given: object) -> targets.Shipment:
    return targets.ship(opened, "browser", folder, {"ort": ort, "browser": "none", **given})


def test_the_folder_has_all_that_a_page_needs_and_says_what_it_is(
    artifact: Artifact, tmp_path: Path, ort: Path
) -> None:
    done = shipped(artifact, tmp_path / "site", ort)
    body = json.loads((tmp_path / "site/model.json").read_text())
    named = [body["model"]["entry"], *body["model"]["external"].values(), *body["files"].values(),
             *body["runtime"]["wasm"].values(), *body["cached"][1:]]  # fmt: skip
    assert all((tmp_path / "site" / name).is_file() for name in named)
    assert body["steps"][0]["kind"] == "image.decode"
    assert body["program"]["inputs"][0]["name"] == "pixels"
    assert {"index.html", "model.js", "model.d.ts", "sw.js", "_headers", "LICENSES.txt"} <= done.files.keys()
    assert "Cross-Origin-Embedder-Policy: require-corp" in (tmp_path / "site/_headers").read_text()
    mark = json.loads((tmp_path / "site/shipment.json").read_text())
    assert (mark["to"], mark["artifact"]) == ("browser", artifact.digest)
    page = (tmp_path / "site/index.html").read_text()
    assert "{{" not in page
    assert "http" not in page.replace("http://www.w3.org", "")  # nothing comes from elsewhere


def test_the_same_shipment_is_the_same_bytes(artifact: Artifact, tmp_path: Path, ort: Path) -> None:
    for name in ("one", "two"):
        shipped(artifact, tmp_path / name, ort)
    one, two = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("one", "two")
    )
    assert one == two


def test_the_plan_says_what_a_visitor_gets(artifact: Artifact, ort: Path) -> None:
    plan = planning.plan(artifact, targets.options_of("browser", {}))
    told = "\n".join(plan.warnings)
    assert "go to every visitor" in told
    assert "JPEG" in told
    assert plan.facts["downloads"]["wasm"] > 0


def test_a_graphics_processor_is_for_networks_and_can_be_left_out(
    artifact: Artifact, tmp_path: Path, ort: Path
) -> None:
    for gpu, there in (("yes", True), ("no", False)):
        shipped(artifact, tmp_path / gpu, ort, gpu=gpu)
        assert (tmp_path / gpu / "ort/ort.webgpu.min.mjs").is_file() is there
        assert bool(json.loads((tmp_path / gpu / "model.json").read_text())["runtime"]["webgpu"]) is there


def test_a_budget_is_held_before_anything_is_fetched(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        targets.ship(artifact, "browser", tmp_path / "site", {"budget_mb": 10.0})
    assert caught.value.code == "ship.budget"
    assert "14.4 MB" in str(caught.value)
    assert not (tmp_path / "site").exists()


def test_another_file_than_the_pinned_one_is_refused(artifact: Artifact, tmp_path: Path, ort: Path) -> None:
    ort.write_bytes(ort.read_bytes()[:-1] + b"?")
    with pytest.raises(SetsailError) as caught:
        shipped(artifact, tmp_path / "site", ort)
    assert caught.value.code == "ship.fetch"
    assert not (tmp_path / "site").exists()


def test_without_a_network_the_way_out_is_told(
    artifact: Artifact, tmp_path: Path, ort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETSAIL_NPM_REGISTRY", "http://127.0.0.1:9")
    with pytest.raises(SetsailError, match="npm pack onnxruntime-web") as caught:
        targets.ship(artifact, "browser", tmp_path / "site", {"browser": "none"})
    assert caught.value.code == "ship.fetch"


def test_what_was_fetched_once_is_kept_and_held_again(artifact: Artifact, tmp_path: Path, ort: Path) -> None:
    shipped(artifact, tmp_path / "one", ort)
    ort.unlink()
    targets.ship(artifact, "browser", tmp_path / "two", {"browser": "none"})
    kept = tmp_path / "cache" / f"onnxruntime-web-{runtime.VERSION}" / runtime.WASM[0]
    kept.write_bytes(b"something else")
    with pytest.raises(SetsailError) as caught:
        shipped(artifact, tmp_path / "three", ort)
    assert caught.value.code == "ship.fetch"


def test_a_native_model_is_refused_by_name(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    from setsail.variants import Variant

    monkeypatch.setattr(Artifact, "variants", (Variant("xgboost", "xgboost-ubj", "float32", "model.ubj"),))
    with pytest.raises(SetsailError, match="xgboost-ubj") as caught:
        fitness.program(artifact)
    assert caught.value.code == "ship.unsupported"


def test_operators_that_are_too_new_for_the_browser_are_refused_by_name(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitness, "NEWEST", {"": 7})
    with pytest.raises(SetsailError, match="does not know yet") as caught:
        fitness.program(artifact)
    assert caught.value.code == "ship.unsupported"


def test_a_step_without_an_implementation_is_refused_by_name(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitness, "STEPS", fitness.STEPS - {"image.crop"})
    with pytest.raises(SetsailError, match=r"image\.crop") as caught:
        fitness.program(artifact)
    assert caught.value.code == "ship.unsupported"


@pytest.mark.parametrize(("spec", "named"), [
    (TensorSpec("x", BY_NAME["float16"], ("N",)), "float16"),
    (TensorSpec("x", BY_NAME["string"], ("N",), content="request"), "request"),
])  # fmt: skip
def test_a_value_that_no_page_has_is_refused_by_name(spec: TensorSpec, named: str) -> None:
    with pytest.raises(SetsailError, match=named):
        fitness._values([spec])


def test_every_kind_of_step_is_in_the_browser() -> None:
    assert SCHEMAS.keys() == fitness.STEPS


def test_the_bundle_is_of_the_sources_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import web

    assert web.MARK.read_text().strip() == web.digest(), "run: python scripts/web.py"
    sys.modules.pop("web")


def test_types_are_those_of_the_signature() -> None:
    text = declarations(
        Signature(
            (
                TensorSpec("age", BY_NAME["int64"], ("N",)),
                TensorSpec("town of birth", BY_NAME["string"], ("N",), categories=("a", 'b"'), closed=True,
                           nullable=True),
            ),
            (TensorSpec("label", BY_NAME["string"], ("N",), labels=("no", "yes")),
             TensorSpec("probabilities", BY_NAME["float32"], ("N", 2))),
            ("label",),
        ),
        "credit", 3,
    )  # fmt: skip
    assert "  age: (number | bigint)[];\n" in text
    assert '  "town of birth": (Maybe<"a" | "b\\"">)[];\n' in text
    assert '  label: ("no" | "yes")[];\n  probabilities: number[][];\n' in text


def test_tensors_go_to_the_page_and_come_back() -> None:
    specs = [
        TensorSpec("a", BY_NAME["int64"], ("N",)), TensorSpec("b", BY_NAME["float32"], ("N", 2)),
        TensorSpec("c", BY_NAME["string"], ("N",)), TensorSpec("d", BY_NAME["bool"], ("N",)),
    ]  # fmt: skip
    texts = np.empty(2, dtype=object)
    texts[:] = ["é", NULL]
    arrays = {"a": np.array([2**53 + 1, -1]), "b": np.array([[np.nan, np.inf], [-np.inf, 0.1]], np.float32), "c": texts,
              "d": np.array([True, False])}  # fmt: skip
    told = json.loads(json.dumps(samples.told(specs, arrays), allow_nan=False))
    for spec in specs:
        back = samples.read(spec, told[spec.name])
        assert back.dtype == arrays[spec.name].dtype
        np.testing.assert_array_equal(back, arrays[spec.name])
    with pytest.raises(SetsailError) as caught:
        samples.read(specs[0], {"dtype": "int64", "shape": [3], "data": ["1"]})
    assert caught.value.code == "ship.unsupported"


def test_a_browser_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetsailError, match="no such browser"):
        proving.browser(str(tmp_path / "netscape"))


# -- the frame that all targets share ---------------------------------------------------------------------------------


def test_only_what_was_shipped_is_replaced(artifact: Artifact, tmp_path: Path, ort: Path) -> None:
    site = tmp_path / "site"
    shipped(artifact, site, ort)
    given = {"ort": ort, "browser": "none"}
    with pytest.raises(SetsailError, match="exists already"):
        targets.ship(artifact, "browser", site, given)
    targets.ship(artifact, "browser", site, given, force=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letters.txt").write_text("dear")
    with pytest.raises(SetsailError, match="was not shipped") as caught:
        targets.ship(artifact, "browser", tmp_path / "home", given, force=True)
    assert caught.value.code == "artifact.exists"
    assert (tmp_path / "home/letters.txt").read_text() == "dear"


def test_an_option_of_no_target_and_a_value_of_no_option_are_refused() -> None:
    with pytest.raises(SetsailError, match="no option --speed") as caught:
        targets.options_of("browser", {"speed": 1})
    assert caught.value.code == "setting.unknown"
    with pytest.raises(SetsailError) as caught:
        targets.options_of("browser", {"gpu": "perhaps"})
    assert caught.value.code == "setting.value"
    with pytest.raises(SetsailError, match="browser"):
        targets.of("abacus")


def test_the_command_shows_the_plan_and_prints_one_document(
    artifact: Artifact, tmp_path: Path, ort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ("ship", "picture.setsail", "--to", "browser", "-o", "site", "--ort", str(ort), "--browser", "none")
    found = run(*line)
    assert found.code == 0, found.err
    assert "warning: the weights" in found.err
    assert "python -m http.server 8000 --directory site" in found.err
    found = run(*line, "--force", "--json")
    assert (found.code, found.document["to"], found.document["proof"]["compared"]) == (0, "browser", False)
    with read(tmp_path / "picture.setsail") as opened:
        assert found.document["variant"] == opened.variants[0].id
