"""A real house whose models are Python functions: everything but the runtime is what is shipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fakehouse import FakeModel
from msgspec import structs

from setsail.runtime.runner import Weights
from setsail.serving.house import House
from setsail.serving.leases import Facts, Loaded, Other
from setsail.tensors import Array

__all__ = ["FunctionRunner", "furnish"]

QUICK = {1: 0.0001, 1024: 0.0002}  # seconds of a run by rows


class FunctionRunner:
    """A runner that calls a function."""

    max_batch = None
    weights = Weights()

    def __init__(self, model: FakeModel) -> None:
        self.signature = model.signature
        self._run: Callable[[Mapping[str, Array]], Mapping[str, Array]] = model.run

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = self._run(inputs)
        return {spec.name: outputs[spec.name] for spec in self.signature.outputs}

    def close(self) -> None:
        pass


def furnish(house: House, *models: FakeModel, **facts: Any) -> None:
    """Put models in the house's table, each in the state it says."""
    house._loader.submit(lambda: None, wait=True)  # its thread is what unloads everything at the end
    for model in models:
        known = Facts("fake 1.0", model.example, "function", "", **{"ladder": QUICK, "invariant": True} | facts)
        table = house.table.queued(model.name, model.version).moved(model.name, model.version, "loading")
        if model.state == "ready":
            table = table.moved(model.name, model.version, "warming")
            loaded = Loaded(FunctionRunner(model), known)
            made = {id(model): loaded}
            for name, other in model.others.items():
                if id(other) not in made:
                    told = structs.replace(known, example=other.example)
                    made[id(other)] = Other(FunctionRunner(other), told, loaded, name)
                loaded.others[name] = made[id(other)]
            table = table.moved(model.name, model.version, "ready", loaded=loaded)
        house.table = table
