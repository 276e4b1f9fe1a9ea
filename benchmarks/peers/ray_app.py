"""Ray Serve: a deployment with one replica a worker."""

import os
import signal

import orjson
from program import Program
from ray import serve
from starlette.responses import Response


@serve.deployment(
    num_replicas=int(os.environ["WORKERS"]), ray_actor_options={"num_cpus": 0.5}, max_ongoing_requests=100
)
class Deployment:
    def __init__(self):
        self.program = Program(os.environ["MODEL"])

    async def __call__(self, request):
        answer = self.program.answer(orjson.loads(await request.body()))
        return Response(
            orjson.dumps({"outputs": answer}, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json"
        )


if __name__ == "__main__":
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])}, logging_config={"log_level": "WARNING"}
    )
    serve.run(Deployment.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
