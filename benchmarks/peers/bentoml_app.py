"""BentoML: a service whose API takes a mapping of tensors."""

import os

import bentoml
from program import Program


@bentoml.service(workers=int(os.environ["WORKERS"]), traffic={"timeout": 120}, logging={"access": {"enabled": False}})
class Service:
    def __init__(self) -> None:
        self.program = Program()

    @bentoml.api
    def predict(self, tensors: dict[str, list]) -> dict:
        return {"outputs": self.program.answer(tensors).tolist()}
