"""What a handler is told about its model and its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .metrics.metrics_store import MetricsStore

__all__ = ["Context"]


class Context:
    """`context` of `initialize` and `handle`.

    Attributes:
        system_properties: `model_dir`, `gpu_id` (None: models run on the CPU), `batch_size`, `server_name`,
            `server_version`, `limit_max_image_pixels`.
        manifest: `MAR-INF/MANIFEST.json`.
        model_yaml_config: the archive's configuration file, as a dict.
        metrics: takes what a handler measures.
        request_ids: index of a request -> its id.
    """

    def __init__(
        self, *, model_name: str, model_dir: str, manifest: Mapping[str, Any], batch_size: int,
        model_yaml_config: dict[str, Any], server: tuple[str, str],
    ) -> None:  # fmt: skip
        self.model_name = model_name
        self.manifest = manifest
        self.model_yaml_config = model_yaml_config
        self.metrics = MetricsStore()
        self.explain = False
        self.request_ids: dict[int, str] = {}
        self._system_properties = {
            "model_dir": model_dir, "gpu_id": None, "batch_size": batch_size, "server_name": server[0],
            "server_version": server[1], "limit_max_image_pixels": True,
        }  # fmt: skip
        self._requests: list[Mapping[str, str]] = []
        self._headers: list[dict[str, str]] = []
        self._status: list[tuple[int, str]] = []

    @property
    def system_properties(self) -> dict[str, Any]:
        return self._system_properties

    # -- of a call ----------------------------------------------------------------------------------------------------

    def begin(self, ids: Sequence[str], headers: Sequence[Mapping[str, str]]) -> None:
        """A call begins, with these requests."""
        self.request_ids = dict(enumerate(ids))
        self._requests = [{name.lower(): text for name, text in given.items()} for given in headers]
        self._headers = [{} for _ in ids]
        self._status = [(200, "")] * len(ids)

    def told(self, index: int) -> tuple[dict[str, str], int, str]:
        """What the handler said of an answer: headers, status, phrase."""
        return self._headers[index], *self._status[index]

    # -- what handlers call -------------------------------------------------------------------------------------------

    def get_request_id(self, idx: int = 0) -> str | None:
        return self.request_ids.get(idx)

    def get_request_header(self, idx: int, key: str) -> str | None:
        return self._requests[idx].get(key.lower())

    def get_all_request_header(self, idx: int) -> Mapping[str, str]:
        return self._requests[idx]

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> str | None:
        return self._headers[idx].get("content-type")

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        if not (str(key).isascii() and str(key).isprintable() and str(value).isprintable()):
            raise ValueError(f"no header: {key!r}")
        self._headers[idx][str(key).lower()] = str(value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        return self._headers[idx]

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self._status[idx] = (int(code), str(phrase))

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        self._status = [(int(code), str(phrase))] * len(self._status)

    def get_response_status(self, idx: int) -> tuple[int, str]:
        return self._status[idx]
