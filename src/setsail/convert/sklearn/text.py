"""Text vectorisers."""

from __future__ import annotations

from typing import Any

from setsail.convert.sklearn.inputs import Layout
from setsail.steps import Step

__all__ = ["steps_of", "vocabulary"]


def steps_of(estimator: Any, layout: Layout) -> tuple[Step, ...]:
    return ()


def vocabulary(estimator: Any) -> tuple[str, ...]:
    return ()
