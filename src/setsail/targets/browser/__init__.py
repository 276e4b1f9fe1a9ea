"""One static folder that runs a model in the visitor's browser."""

from __future__ import annotations

from setsail.targets import Option
from setsail.targets.browser.planning import plan

__all__ = ["OPTIONS", "SUMMARY", "plan"]

SUMMARY = "a static folder: a page with a form, and a typed ES module, that run the model in the visitor's browser"

OPTIONS = (Option("budget_mb", "Refuse when a visitor would download more megabytes than this.", 50.0, float),)
