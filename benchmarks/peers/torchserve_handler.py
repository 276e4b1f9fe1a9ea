"""TorchServe: a handler that takes and gives JSON."""

import json
import os

from program import Program
from ts.torch_handler.base_handler import BaseHandler


class Handler(BaseHandler):
    def initialize(self, context):
        self.program = Program(os.environ["MODEL"])
        self.initialized = True

    def handle(self, data, context):
        """A list of requests in, a list of answers out; rows of equal shape are run together."""
        documents = [row.get("body") or row.get("data") for row in data]
        documents = [json.loads(d) if isinstance(d, (bytes, bytearray, str)) else d for d in documents]
        names = list(self.program.inputs)
        if all(
            len(d[name]) == 1 and len(d[name][0]) == len(documents[0][name][0]) for d in documents for name in names
        ):
            joined = self.program.answer({name: [d[name][0] for d in documents] for name in names})
            return [{"outputs": [row]} for row in joined.tolist()]
        return [{"outputs": self.program.answer(d).tolist()} for d in documents]
