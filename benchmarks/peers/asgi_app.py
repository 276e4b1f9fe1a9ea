"""By hand on uvicorn: raw ASGI and orjson."""

import orjson
from program import Program

program = Program()
JSON = [(b"content-type", b"application/json")]
RAW = [(b"content-type", b"application/octet-stream")]


async def app(scope, receive, send):
    chunks = []
    while True:
        message = await receive()
        chunks.append(message["body"])
        if not message["more_body"]:
            break
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if scope["path"] == "/raw":
        reply, headers = program.answer_raw(body), RAW
    else:
        answer = program.answer(orjson.loads(body))
        reply, headers = orjson.dumps({"outputs": answer}, option=orjson.OPT_SERIALIZE_NUMPY), JSON
    length = (b"content-length", str(len(reply)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": reply})
