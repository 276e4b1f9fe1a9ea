"""MLServer: a custom runtime of the Open Inference Protocol."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
from program import Program


class Runtime(MLModel):
    async def load(self) -> bool:
        self.program = Program()
        return True

    async def predict(self, payload):
        tensors = {given.name: NumpyCodec.decode_input(given) for given in payload.inputs}
        tensors = {name: tensors[name].astype(dtype, copy=False) for name, (dtype, _) in self.program.inputs.items()}
        output = NumpyCodec.encode_output(self.program.output, self.program.run(tensors))
        return InferenceResponse(model_name=self.name, outputs=[output])
