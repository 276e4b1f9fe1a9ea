"""What Triton has and setsail does not: refused by name."""

from __future__ import annotations

import pytest

from setsail.errors import SetsailError
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.unsupported import REFUSED


@pytest.mark.parametrize("method", REFUSED)
def test_it_is_refused_by_name(method: str) -> None:
    with pytest.raises(SetsailError) as caught:
        METHODS[f"/inference.GRPCInferenceService/{method}"].decode(b"")
    assert caught.value.code == "request.unsupported"
    assert method in str(caught.value)
