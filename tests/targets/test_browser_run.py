"""Sites in a real browser: their answers against the source's, the form by hand, offline, the graphics processor.

Slow: needs Chromium, and onnxruntime-web of npm (kept in the cache once it was fetched).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import chrome
import numpy as np
import pytest
import sites

from setsail import targets
from setsail.artifact import read
from setsail.targets.browser import proving

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src/setsail/targets/browser/static"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chrome.chromium() is None, reason="needs Chromium: apt install chromium"),
]
NEEDS = {"credit": ("sklearn", "pandas"), "booster": ("xgboost", "pandas"), "pictures": ("torch", "transformers"),
         "sentiment": ("torch", "transformers")}  # fmt: skip
Site = Callable[[str], tuple[Path, targets.Shipment]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A family's site, shipped (and tried by shipping) once."""
    folder = tmp_path_factory.mktemp("sites")
    made: dict[str, tuple[Path, targets.Shipment]] = {}

    def of(family: str) -> tuple[Path, targets.Shipment]:
        for name in NEEDS[family]:
            pytest.importorskip(name)
        if family not in made:
            with sites.pack(family, folder) as opened:
                network = {"gpu": "yes"} if "torch" in NEEDS[family] else {}
                made[family] = folder / family, targets.ship(opened, "browser", folder / family, network)
        return made[family]

    return of


@pytest.mark.parametrize("family", NEEDS)
def test_the_answers_are_the_sources(site: Site, family: str) -> None:
    _, done = site(family)
    assert done.proof.checks, done.proof.how
    assert done.proof.passed
    assert {check.batch for check in done.proof.checks} == {0, 1}
    assert max(check.worst for check in done.proof.checks) < 1e-5


@pytest.mark.parametrize("family", ["pictures", "sentiment"])
def test_the_answers_are_the_sources_on_webgpu(site: Site, family: str) -> None:
    folder, _ = site(family)
    with read(folder.parent / f"{family}.setsail") as opened:
        proof = proving.prove(opened, folder, device="webgpu", flags=chrome.SOFTWARE_GPU)
    assert "webgpu" in proof.how
    assert proof.passed


def ready(page: chrome.Tab) -> None:
    assert page.wait("document.documentElement.dataset.ready") == "wasm", page.run("document.body.innerText")


def test_the_form_by_keyboard_and_a_pasted_table(site: Site, tmp_path: Path) -> None:
    folder, _ = site("credit")
    with proving.served(folder, {}) as (url, _), chrome.tab() as page:
        page.open(f"{url}/")
        ready(page)
        page.run("document.querySelector('#fields input').select(); document.querySelector('#fields input').focus()")
        page.type("43")
        page.press("Enter", 13)
        page.wait("document.querySelector('.answer')")
        assert page.run("document.querySelector('.answer dd').innerText") in ("approve", "decline")
        page.run("document.querySelector('#fields input').value = 'old'; document.querySelector('#run').click()")
        assert "'age' is no number: old" in page.wait("document.querySelector('.fault')?.innerText")
        text = "age\\tincome\\tcity\\temployed\\n30\\t50000\\tParis\\tyes\\n77\\t\\tNowhere\\tno"
        page.run(f"document.querySelector('#rows').value = '{text}'; document.querySelector('#many').requestSubmit()")
        cells = page.wait("[...document.querySelectorAll('#results tbody tr')].map(row => row.cells[1].innerText)")
        assert page.errors == []
    import pandas as pd

    import setsail

    rows = pd.DataFrame({"age": [30, 77], "income": [50_000, np.nan], "city": ["Paris", "Nowhere"],
                         "employed": ["yes", "no"]})  # fmt: skip
    with setsail.load(folder.parent / "credit.setsail") as model:
        assert cells == model.predict(rows).tolist()


def test_a_picture_is_uploaded(site: Site, tmp_path: Path) -> None:
    from io import BytesIO

    from PIL import Image

    import setsail

    folder, _ = site("pictures")
    pixels = np.random.default_rng(3).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(raw := BytesIO(), "PNG")
    (tmp_path / "cat.png").write_bytes(raw.getvalue())
    with proving.served(folder, {}) as (url, _), chrome.tab() as page:
        page.open(f"{url}/")
        ready(page)
        page.files("input[type=file]", tmp_path / "cat.png")
        page.run("document.querySelector('#run').click()")
        label = page.wait("document.querySelector('.answer dd')?.innerText")
        shown = page.run("[...document.querySelectorAll('.bars li')].map(li => li.innerText.split(/\\s+/))")
        assert page.errors == []
    with setsail.load(folder.parent / "pictures.setsail") as model:
        answer = model.predict({"image": [raw.getvalue()]})
    assert label == answer["label"][0]
    best = max(float(share) for _, share, _ in shown)
    assert best == pytest.approx(float(answer["probabilities"].max()) * 100, abs=0.06)


def test_after_one_visit_it_works_offline(site: Site) -> None:
    folder, _ = site("booster")
    with chrome.tab() as page:
        with proving.served(folder, {}) as (url, _):
            page.open(f"{url}/")
            ready(page)
            page.wait("!document.querySelector('#offline').hidden")
        page.open("about:blank")  # the host is gone now
        page.open(f"{url}/")
        ready(page)
        page.run("document.querySelector('#run').click()")
        assert page.wait("document.querySelector('.answer dd')?.innerText") in ("keep", "scrap")


def test_threads_come_without_the_hosts_headers_at_the_second_visit(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = site("booster")
    monkeypatch.setattr(proving._Host, "end_headers", proving.SimpleHTTPRequestHandler.end_headers)
    with proving.served(folder, {}) as (url, _), chrome.tab() as page:
        page.open(f"{url}/")
        ready(page)
        assert page.run("crossOriginIsolated") is False
        page.wait("!document.querySelector('#offline').hidden")
        page.open("about:blank")
        page.open(f"{url}/")
        ready(page)
        assert page.run("crossOriginIsolated") is True


def test_the_module_by_itself(site: Site) -> None:
    folder, _ = site("booster")
    body = b"<!doctype html><title>a page of another project</title>"
    with proving.served(folder, {"/mine.html": body}) as (url, _), chrome.tab() as page:
        page.open(f"{url}/mine.html")
        made = page.run("""(async () => {
            const { load, Fault } = await import("/model.js");
            const model = await load({ device: "wasm" });
            const row = { depth: 1, width: 0, weight: null, heat: -1.5, "age in days": 3 };
            const one = await model.predict([row]);
            const same = await model.predict({ input: [[1, 0, NaN, -1.5, 3]] });
            const faults = [];
            for (const bad of [[{ ...row, depth: "deep" }], [{ ...row, more: 1 }], { input: [[1, 2]] }, []]) {
                try { await model.predict(bad); faults.push("taken"); }
                catch (fault) { faults.push(fault instanceof Fault ? fault.code : String(fault)); }
            }
            const together = await Promise.all([row, row, row].map((one) => model.predict([one])));
            return { one, same, faults, together: together.map((answer) => answer.label[0]) };
        })()""")
    assert made["one"] == made["same"]
    assert made["faults"] == ["input.dtype", "input.unknown", "input.shape", "input.empty"]
    assert made["together"] == made["one"]["label"] * 3


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return contract(tmp_path_factory.mktemp("contract"))


def failures(built: Path, cases: dict[str, bytes]) -> list[str]:
    """Run files of cases in a browser; gives how many there were, then what failed."""
    with proving.served(built, cases) as (url, _), chrome.tab() as page:
        page.open(f"{url}/LICENSES.txt")
        told: list[str] = page.run(f"""(async () => {{
            const {{ run }} = await import("/cases.js");
            const failed = [];
            let count = 0;
            for (const name of {json.dumps(sorted(cases))}) {{
                const {{ kind, cases }} = await (await fetch(name)).json();
                for (const one of cases) {{
                    count++;
                    const told = await run(kind, one);
                    if (told) failed.push(`${{name}}: ${{one.what}}: ${{told}}`);
                }}
            }}
            return [String(count), ...failed];
        }})()""")
    return told


def test_every_step_passes_the_contract_in_a_browser(built: Path) -> None:
    cases = {f"/steps/{path.name}": path.read_bytes() for path in (ROOT / "tests/steps").glob("*.json")}
    assert failures(built, cases) == [str(sum(len(json.loads(data)["cases"]) for data in cases.values()))]


def test_texts_are_split_as_the_library_in_rust_splits_them(built: Path) -> None:
    pytest.importorskip("tokenizers")
    token_cases = pytest.importorskip("token_cases")
    cases = {}
    for name, tokenizer in token_cases.tokenizers():
        body = {"kind": "text.tokenize", "cases": list(token_cases.cases(tokenizer))}
        cases[f"/tokens/{name.replace(' ', '-')}.json"] = json.dumps(body).encode()
    told = failures(built, cases)
    assert told[1:] == []
    assert int(told[0]) > 700


def contract(folder: Path) -> Path:
    """web/ built anew, with the module that runs a case; what lies in the package must be the same, byte for byte."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs Node and npm")
    web = folder / "web"
    shutil.copytree(ROOT / "web", web, ignore=lambda _, names: [n for n in names if n == "node_modules"])
    subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=web, check=True, timeout=400)
    subprocess.run([npm, "run", "build"], cwd=web, check=True, timeout=200)
    built = folder / "src/setsail/targets/browser/static"
    for path in built.iterdir():
        assert path.read_bytes() == (STATIC / path.name).read_bytes(), path.name
    for name in ("console.js", "console.css"):
        page = Path("src/setsail/server/pages") / name
        assert (folder / page).read_bytes() == (ROOT / page).read_bytes(), name
    script = 'export { run } from "./test/cases.ts";'
    (web / "cases.ts").write_text(script)
    line = [npm, "exec", "--", "vite", "build", "--config", "cases.config.ts"]
    (web / "cases.config.ts").write_text(
        'export default { build: { outDir: "../src/setsail/targets/browser/static", emptyOutDir: false, '
        'copyPublicDir: false, lib: { entry: "cases.ts", formats: ["es"], fileName: () => "cases.js" } } };'
    )
    subprocess.run(line, cwd=web, check=True, timeout=200)
    return built
