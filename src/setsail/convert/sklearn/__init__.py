"""scikit-learn estimators and pipelines to ONNX, in the source's own arithmetic."""
