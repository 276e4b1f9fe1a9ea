"""What all connections of one event loop share."""

from __future__ import annotations

import calendar
import time
from email.utils import parsedate_to_datetime

import pytest

from setsail.server import plane


@pytest.mark.parametrize("day", range(0, 800, 37))
def test_the_date_is_the_one_that_http_libraries_read(day: int, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 1_700_000_000 + day * 86_399
    monkeypatch.setattr(plane, "gmtime", lambda: time.gmtime(moment))
    read = parsedate_to_datetime(plane._date().decode())
    assert calendar.timegm(read.utctimetuple()) == moment
