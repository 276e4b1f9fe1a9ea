"""LitServe: the model in worker processes behind its API server."""

import os

import litserve
from program import Program


class Api(litserve.LitAPI):
    def setup(self, device):
        self.program = Program()

    def decode_request(self, request):  # the parameter must have this name
        return request

    def predict(self, x):
        return self.program.answer(x)

    def encode_response(self, output):
        return {"outputs": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=int(os.environ["WORKERS"]), timeout=120)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        log_level="warning",
        generate_client_file=False,
        num_api_servers=1,
    )
