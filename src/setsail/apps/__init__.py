"""Code as models: `app.py:predict`, a handler of TorchServe. Each runs in a process of its own, and looks like any
other runner from outside.

    code     the noun and the table: which kinds of code there are, and what a new one provides: begin here
    spec     "app.py:predict" as text
    hints    type hints -> signature            \\
    calling  checked arrays -> calls -> arrays   } in the child, which alone ever imports somebody's file
    importing  a file -> its module             /
    child    the child's main loop
    frames   what the two say to each other: fixed structs
    slab     shared memory: the tensors
    process  one child as its parent sees it
    runner   the model: one child after the other

`docs/functions.md` is what a person reads first, `docs/trust.md` says what the child can and cannot do.
"""
