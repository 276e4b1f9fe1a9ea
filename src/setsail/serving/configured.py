"""Models that a configuration names: for each a base path, which of its versions are served, and labels.

Each is a repository of one name (`repository.py`) whose look is narrowed by the policy. A new configuration replaces
the old one as a whole; what both have is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event, Lock, Thread, current_thread

from setsail.catalog import ModelConfig, VersionStatus
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.serving.declared import chosen
from setsail.serving.repository import Found, Housing, Repository, scan_model
from setsail.serving.store import Packer
from setsail.serving.table import Table

__all__ = ["Configured", "chosen", "look"]

_LOG = logging.getLogger("setsail.serving")


class Configured:
    """Keeps a house as the newest configuration says.

    Args:
        pack: turns a model that is no artifact into the path of one.
        poll: seconds between looks at the base paths; 0 looks when the configuration changes.
    """

    def __init__(self, house: Housing, pack: Packer | None, poll: float) -> None:
        self._house, self._pack, self._poll = house, pack, poll
        self._models: dict[str, Repository] = {}
        self._changing = Lock()
        self._closed = Event()
        self._thread: Thread | None = None

    def change(self, models: Sequence[ModelConfig], bases: Sequence[Path]) -> tuple[VersionStatus, ...]:
        """Serve these instead, and wait until that is done or has failed.

        Args:
            bases: the base path of each, as it was allowed.

        Raises:
            SetsailError: `request.form` for a name given twice, `model.label` for a label of a version that is not
                served; nothing has changed then.
        """
        looks = {}
        for model, base in zip(models, bases, strict=True):
            if model.name in looks:
                raise SetsailError("request.form", f"model {model.name!r} is configured twice", field="name",
                                   value=model.name, expected="each name once")  # fmt: skip
            looks[model.name] = (model, base)
            _check_labels(model, look(model, base, self._pack is not None))
        with self._changing:
            for name in {**self._models, **looks}:
                self._set(name, looks.get(name))
            if self._thread is None and self._poll and self._models:
                self._thread = Thread(target=self._watch, name="setsail-configured", daemon=True)
                self._thread.start()
        return tuple(status for model, base in looks.values() for status in self._statuses(model, base))

    def close(self) -> None:
        """Stop looking; what is loaded stays."""
        self._closed.set()
        if self._thread is not None and self._thread is not current_thread():
            self._thread.join()

    def _set(self, name: str, wanted: tuple[ModelConfig, Path] | None) -> None:
        if wanted is None:
            repository = self._models.pop(name)
            repository.scan = dict  # nothing is there
            repository.look(at_once=True)
            return
        model, base = wanted
        repository = self._models.setdefault(name, Repository(self._house, base, pack=self._pack))
        repository.scan = lambda: look(model, base, self._pack is not None)
        repository.look(at_once=True)  # what fails to load shows as failed
        self._label(model)

    def _label(self, model: ModelConfig) -> None:
        def labelled(table: Table) -> Table:
            old = table.models[model.name].labels if model.name in table.models else {}
            for label in {*old} - {*model.labels}:
                table = table.labelled(model.name, label, None)
            for label, version in model.labels.items():
                table = table.labelled(model.name, label, version)
            return table

        self._house.swap(labelled)

    def _statuses(self, model: ModelConfig, base: Path) -> tuple[VersionStatus, ...]:
        wanted = {found.version for found in look(model, base, self._pack is not None).values()}
        if model.name not in self._house.table.models:
            return ()
        return tuple(s for s in self._house.table.status(ModelRef(model.name)) if s.version in wanted)

    def _watch(self) -> None:
        while not self._closed.wait(self._poll):
            with self._changing:
                for name, repository in self._models.items():
                    try:
                        repository.look()
                    except Exception:
                        _LOG.exception("looking at the versions of %s failed", name)


def look(model: ModelConfig, base: Path, packs: bool) -> dict[Path, Found]:
    """What is there and meant; nothing where the base path does not exist yet."""
    try:
        found = scan_model(base, model.name, packs=packs)
    except OSError as fault:
        _LOG.warning("the base path of %s cannot be listed: %s", model.name, fault.strerror)
        return {}
    wanted = chosen([one.version for one in found.values() if one.version is not None], model.policy)
    return {place: one for place, one in found.items() if one.version in wanted}


def _check_labels(model: ModelConfig, found: Mapping[Path, Found]) -> None:
    versions = sorted(one.version for one in found.values() if one.version is not None)
    for label, version in model.labels.items():
        if version not in versions:
            raise SetsailError(
                "model.label", f"label {label!r} of {model.name!r} is given to version {version}, which is not served",
                field="version_labels", value=version, expected="one of " + ", ".join(map(str, versions)),
            )  # fmt: skip
