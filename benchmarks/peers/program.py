"""What every peer here runs: one onnxruntime session of one thread over the file $MODEL.

A document is the request's JSON object: each input's name with its rows. One file, so that peers differ in
their servers and in nothing else.
"""

import os

import numpy as np
import onnxruntime

_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class Program:
    def __init__(self, path: str = "") -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(path or os.environ["MODEL"], options, ["CPUExecutionProvider"])
        self.inputs = {given.name: (_DTYPES[given.type], given.shape) for given in self.session.get_inputs()}
        (self.output,) = (found.name for found in self.session.get_outputs())

    def run(self, tensors: dict) -> np.ndarray:
        return self.session.run(None, tensors)[0]

    def answer(self, document: dict) -> np.ndarray:
        """The answer to lists, as they come out of a JSON parser."""
        return self.run({name: np.asarray(document[name], dtype) for name, (dtype, _) in self.inputs.items()})

    def answer_raw(self, body: bytes) -> bytes:
        """The answer to the bytes of the one tensor, as bytes."""
        ((name, (dtype, shape)),) = self.inputs.items()
        return self.run({name: np.frombuffer(body, dtype).reshape(-1, *shape[1:])}).tobytes()
