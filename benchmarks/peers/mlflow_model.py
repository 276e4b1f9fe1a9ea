"""MLflow: the ONNX file saved as an MLflow model of the onnx flavour."""

import os
import sys

import mlflow.onnx
import onnx

if __name__ == "__main__":
    mlflow.onnx.save_model(
        onnx.load(os.environ["MODEL"]),
        sys.argv[1],
        onnx_session_options={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
        pip_requirements=[],
    )
