"""By hand on granian: RSGI and orjson."""

import orjson
from program import Program

program = Program()
JSON = [("content-type", "application/json")]
RAW = [("content-type", "application/octet-stream")]


async def app(scope, protocol):
    body = await protocol()
    if scope.path == "/raw":
        protocol.response_bytes(200, RAW, program.answer_raw(body))
    else:
        answer = program.answer(orjson.loads(body))
        protocol.response_bytes(200, JSON, orjson.dumps({"outputs": answer}, option=orjson.OPT_SERIALIZE_NUMPY))
