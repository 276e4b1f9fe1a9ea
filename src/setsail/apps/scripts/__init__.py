"""Scripts of other platforms in the child: SageMaker's hooks, Azure ML's `init` and `run`.

They take and give bytes with content types, so what they get is the request as it came (`letters.py`), one at a time.

    entry       a folder, archive or file as an `Entry`; in the parent
    sagemaker   model_fn, input_fn, predict_fn, output_fn, transform_fn
    azure       init, run
    toolkit     what SageMaker's own package of hooks offers scripts, where that is not installed
"""
