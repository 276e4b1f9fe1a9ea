"""FastAPI as tutorials show it: a pydantic body, a plain `def` handler, a dict back."""

from fastapi import FastAPI
from program import Program
from pydantic import create_model

app = FastAPI()
program = Program()


def nested(dtype, rank):
    kind = int if "int" in dtype.__name__ else float
    for _ in range(rank):
        kind = list[kind]
    return kind


Body = create_model("Body", **{n: (nested(dtype, len(shape)), ...) for n, (dtype, shape) in program.inputs.items()})


@app.post("/predict")
def predict(body: Body):
    return {"outputs": program.answer(body.model_dump()).tolist()}
