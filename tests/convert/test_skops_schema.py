"""Which types of a skops schema need trust."""

from typing import Any

import pytest

from setsail.convert.skops_schema import unknown_types


def node(loader: str, name: str, content: Any = None) -> dict[str, Any]:
    module, _, last = name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": last, "content": content}


@pytest.mark.parametrize(
    "known",
    [node("ObjectNode", "sklearn.linear_model._base.LinearRegression"), node("NdArrayNode", "numpy.ndarray"),
     node("DictNode", "builtins.dict", {"a": [node("JsonNode", "builtins.str")]}),
     node("SparseMatrixNode", "scipy.sparse.csr_matrix"),
     node("TypeNode", "builtins.float")],
)  # fmt: skip
def test_data_and_estimators_need_none(known: Any) -> None:
    assert unknown_types(known) == set()


@pytest.mark.parametrize(
    "bad",
    [node("ObjectNode", "os.popen"), node("FunctionNode", "numpy.log"), node("MethodNode", "sklearn.x.y"),
     node("PartialNode", "functools.partial"), node("OperatorFuncNode", "operator.methodcaller"),
     node("ConstructorFromReduceNode", "sklearn.x.Y"), node("ObjectNode", "builtins.eval"),
     node("TypeNode", "posix.system"),
     node("ObjectNode", "sklearnevil.X"), node("NoSuchNode", "sklearn.x.Y")],
)  # fmt: skip
def test_functions_and_strangers_do(bad: Any) -> None:
    name = f"{bad['__module__']}.{bad['__class__']}"
    assert unknown_types(node("DictNode", "builtins.dict", {"a": {"content": [bad]}})) == {name}
