"""Functions as models: `app.py:predict` runs in a process of its own, and looks like any other runner from outside.

    spec     "app.py:predict" as text
    hints    type hints -> signature            \\
    calling  checked arrays -> calls -> arrays   } in the child, which alone ever imports the function
    child    the child's main loop              /
    frames   what the two say to each other: fixed structs
    slab     shared memory: the tensors
    process  one child as its parent sees it
    runner   the model: one child after the other

`docs/functions.md` is what a person reads first, `docs/trust.md` says what the child can and cannot do.
"""
