"""By hand on robyn, with orjson."""

import os

import orjson
from program import Program
from robyn import Headers, Response, Robyn

app = Robyn(__file__)
program = Program()
JSON = Headers({"content-type": "application/json"})


@app.post("/predict")
async def predict(request):
    answer = program.answer(orjson.loads(request.body))
    body = orjson.dumps({"outputs": answer}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(status_code=200, headers=JSON, description=body)


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=int(os.environ["PORT"]))
