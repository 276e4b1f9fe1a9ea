"""The requests that are sent: how many, how large."""

from __future__ import annotations

import numpy as np
import pytest

from setsail.loadtest.inputs import Inputs
from setsail.loadtest.subject import Subject, requests
from setsail.loadtest.targets import place
from setsail.loadtest.wires import WIRES
from setsail.signature import Signature, TensorSpec


@pytest.mark.parametrize(
    ("width", "distinct", "batch"), [(4, 64, 128), (1 << 18, 31, 3), (1 << 23, 1, 1)], ids=["small", "large", "huge"]
)
def test_large_rows_make_few_requests_of_few_rows(width: int, distinct: int, batch: int) -> None:
    spec = TensorSpec("x", TensorSpec.parse("x:float32[N]").dtype, ("N", width))
    rows = Inputs({"x": np.broadcast_to(np.zeros((), np.float32), (200, width))}, 200, "")
    subject = Subject(
        place("http://h:1", "a b"), Signature((spec,), (spec,), ("x",)), rows, {"Authorization": "Bearer k"}
    )
    singles, batches, size = requests(subject, WIRES["v2-binary"])
    assert len(singles) == distinct
    assert size == batch
    assert 1 <= len(batches) <= 4
    assert singles[0].startswith(b"POST /v2/models/a%20b/infer HTTP/1.1\r\nHost: h:1\r\n")
    assert b"\r\nAuthorization: Bearer k\r\n" in singles[0]
    assert len(batches[0]) > size * width * 4
