"""MLflow model directories: what stands in `MLmodel`, read without MLflow.

    document    the YAML file, checked: flavours, signature, example, versions
    schema      MLflow's column and tensor schemas; as our inputs, and held against our signature
    example     `input_example.json` as rows
    flavours    which file inside is the model, of which formats, and what MLflow would answer
    directory   the conversion: the file's own converter, plus what the directory knows

Nothing is loaded while a directory is recognised. A flavour is packed through the converter of the file in it and needs
the trust that this file needs; where there is none, `python_function` can be served in a process of its own.
"""
