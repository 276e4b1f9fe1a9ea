"""TensorFlow: Keras models, live and saved; SavedModels; TensorFlow Lite files.

Everything becomes one traced function, which `tf2onnx` translates (`translation.py`) and `assembly.py` describes by
running the source. TensorFlow is imported only by the modules that a table names when one of them is chosen:

    keras_live.py    live Keras models of any backend
    keras.py         those of the TensorFlow backend, `.keras`, `.h5`
    keras_saved.py   what a live model of another backend saved, in a child process
    saved_model.py   a SavedModel, and what `tf.saved_model.load` gives
    lite.py          `.tflite`

The other way, for `setsail export --to savedmodel`, goes `rebuilt.py`: an ONNX graph by the table in `operators.py`.

Two modules need no TensorFlow, because they decide whether a file may be loaded at all: `keras_config.py` and
`graph_operators.py`.
"""
