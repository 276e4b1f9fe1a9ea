"""What is told of models and versions: each answer is read from one table, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from setsail.catalog import (
    Card,
    Index,
    IsLive,
    IsReady,
    Metadata,
    ModelMetadata,
    ServerInfo,
    Statistics,
    Status,
    VersionStatistics,
    VersionStatus,
)  # fmt: skip
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.monitor.meter import Meter
from setsail.monitor.statistics import statistics
from setsail.serving.leases import Loaded
from setsail.serving.table import Table

__all__ = ["Inquiries", "present"]


class Inquiries:
    """Answers `ASKS`.

    Args:
        tables: gives the table of this moment.
        meter: asked for statistics.
    """

    def __init__(self, tables: Callable[[], Table], meter: Meter) -> None:
        self._tables, self._meter = tables, meter

    def answer(self, ask: Any) -> Any:
        """The type of the answer stands with each ask in `catalog.py`. Raises `model.*`."""
        return self.ASKS[type(ask)](self, ask)

    def _is_live(self, ask: IsLive) -> bool:
        return True

    def _is_ready(self, ask: IsReady) -> bool:
        """One version, or everything: each name that is not wholly unloaded has a version that answers."""
        table = self._tables()
        if ask.model is None:
            return all(v.answers for v in table.models.values() if v.wanted)
        if ask.lenient and ask.model.name not in table.models:
            return False
        return any(version.ready for version in table.status(ask.model))

    def _status(self, ask: Status) -> tuple[VersionStatus, ...]:
        return self._tables().status(ask.model)

    def _metadata(self, ask: Metadata) -> ModelMetadata:
        table = self._tables()
        entry = table.find(ask.model)
        loaded = present(entry.loaded)
        versions = tuple(e.version for e in table.models[entry.name].entries.values() if e.ready)

        def told(one: Loaded, others: Mapping[str, ModelMetadata]) -> ModelMetadata:
            runner, facts = one.runner, one.facts
            return ModelMetadata(entry.name, entry.version, versions, runner.signature, facts.framework,
                                 runner.max_batch, facts.example, others)  # fmt: skip

        return told(loaded, {name: told(other, {}) for name, other in loaded.others.items()})

    def _card(self, ask: Card) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return present(self._tables().find(ask.model).loaded).facts.about

    def _index(self, ask: Index) -> tuple[VersionStatus, ...]:
        table = self._tables()
        rows = [row for name in table.models for row in table.status(ModelRef(name))]
        return tuple(row for row in rows if row.ready or not ask.ready_only)

    def _statistics(self, ask: Statistics) -> tuple[VersionStatistics, ...]:
        """Of the version meant, of all ready ones of a name, or of everything that is ready."""
        table, ref, counts = self._tables(), ask.model, self._meter.snapshot()
        if ref is not None and not ref.bare:
            return statistics(counts, [(ref.name, table.find(ref).version)])
        names = tuple(table.models) if ref is None else (ref.name,)
        rows = [row for name in names for row in table.status(ModelRef(name)) if row.ready]
        return statistics(counts, [(row.name, row.version) for row in rows])

    def _server_info(self, ask: ServerInfo) -> None:
        return None

    ASKS: Final[Mapping[type, Callable[..., Any]]] = {
        IsLive: _is_live, IsReady: _is_ready, Status: _status, Metadata: _metadata, Card: _card, Index: _index,
        ServerInfo: _server_info, Statistics: _statistics,
    }  # fmt: skip


def present(loaded: Loaded | None) -> Loaded:
    """What an entry has loaded. Raises `model.not_ready` where it has nothing any more."""
    if loaded is None:
        raise SetsailError("model.not_ready", "the version was unloaded meanwhile")
    return loaded
