"""One static folder that runs a model in the visitor's browser: a page with a form, and a typed ES module.

Nothing is built when shipping: the page's own code lies ready in `static/` (made of web/, by `npm run build`), the
runtime is Microsoft's onnxruntime-web out of its npm package, fetched once and pinned (`runtime.py`), and the program,
its signature and its steps are the artifact's own. What the browser cannot do is refused by name (`fitness.py`).
"""

from __future__ import annotations

from pathlib import Path

from setsail.signature import DEFAULT
from setsail.targets import Option
from setsail.targets.browser.planning import plan

__all__ = ["OPTIONS", "SUMMARY", "plan"]

SUMMARY = "a static folder: a page with a form, and a typed ES module, that run the model in the visitor's browser"

OPTIONS = (
    Option("budget_mb", "Refuse when a visitor would download more megabytes than this.", 50.0, float),
    Option("gpu", "Add the runtime for WebGPU, which visitors who have it download instead of the other one; auto adds "
           "it for neural networks of a megabyte and more.", "auto", str, ("auto", "yes", "no")),
    Option("signature", "Which of the model's signatures the page has; a site has one.", DEFAULT, str),
    Option("ort", "Tarball of the npm package onnxruntime-web, instead of fetching it.", None, Path),
    Option("browser", "Chromium or Chrome that tries what was written: a path, or none. By default the one on PATH.",
           "", str),
)  # fmt: skip
