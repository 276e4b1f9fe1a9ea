"""Flask as tutorials show it."""

from flask import Flask, jsonify, request
from program import Program

app = Flask(__name__)
program = Program()


@app.post("/predict")
def predict():
    return jsonify({"outputs": program.answer(request.get_json()).tolist()})


@app.post("/raw")
def raw():
    return program.answer_raw(request.get_data())
