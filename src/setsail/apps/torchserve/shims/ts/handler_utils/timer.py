"""`@timed`: how long a method of a handler took, as a metric."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

__all__ = ["timed"]


def timed(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        result = func(self, *args, **kwargs)
        if getattr(self, "context", None) is not None:
            self.context.metrics.add_time(f"ts_handler_{func.__name__}", (time.perf_counter() - begun) * 1e3)
        return result

    return wrapper
