"""Open Inference Protocol over grpcio, with tritonclient's stubs: `grpc_app.py aio` or `grpc_app.py sync`."""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from program import Program
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc as stubs

OPTIONS = [("grpc.so_reuseport", 1)]
ADDRESS = f"127.0.0.1:{os.environ['PORT']}"


class Service(stubs.GRPCInferenceServiceServicer):
    def __init__(self):
        self.program = Program()

    def infer(self, request):
        tensors = {}
        for given, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            dtype, _ = self.program.inputs[given.name]
            tensors[given.name] = np.frombuffer(raw, dtype).reshape(given.shape)
        answer = self.program.run(tensors)
        reply = messages.ModelInferResponse(model_name=request.model_name)
        reply.outputs.add(name=self.program.output, datatype="FP32", shape=answer.shape)
        reply.raw_output_contents.append(answer.tobytes())
        return reply


class Aio(Service):
    async def ModelInfer(self, request, context):  # noqa: N802
        return self.infer(request)


class Sync(Service):
    def ModelInfer(self, request, context):  # noqa: N802
        return self.infer(request)


async def serve_aio():
    server = grpc.aio.server(options=OPTIONS)
    stubs.add_GRPCInferenceServiceServicer_to_server(Aio(), server)
    server.add_insecure_port(ADDRESS)
    await server.start()
    await server.wait_for_termination()


def serve_sync():
    server = grpc.server(ThreadPoolExecutor(4), options=OPTIONS)
    stubs.add_GRPCInferenceServiceServicer_to_server(Sync(), server)
    server.add_insecure_port(ADDRESS)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    from processes_of import run

    run({"aio": lambda: asyncio.run(serve_aio()), "sync": serve_sync}[sys.argv[1]])
