"""FastAPI as one tunes it: async handlers, the body read raw, orjson both ways."""

import orjson
from fastapi import FastAPI, Request, Response
from program import Program

app = FastAPI()
program = Program()


@app.post("/predict")
async def predict(request: Request) -> Response:
    answer = program.answer(orjson.loads(await request.body()))
    body = orjson.dumps({"outputs": answer}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")


@app.post("/raw")
async def raw(request: Request) -> Response:
    return Response(program.answer_raw(await request.body()), media_type="application/octet-stream")
