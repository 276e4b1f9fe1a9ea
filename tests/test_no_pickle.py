"""Nothing on the serving side can load a pickle (`docs/trust.md`).

The standard library's `pickle` itself may be in memory: numpy and multiprocessing import it. What matters is that no
module of ours calls a loader, and that the packages whose loaders run pickles are not even imported.
"""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import setsail

SOURCE = Path(setsail.__file__).parent
LOADERS = {"pickle", "_pickle", "cPickle", "joblib", "dill", "cloudpickle", "marshal", "shelve", "skops"}
# Modules that load what only a child process may load, or what `convert/skops_schema.py` found harmless; and those
# that call torch's loaders: on weights only, or in a child process.
ALLOWED = {
    "convert/loaders.py": {"joblib", "skops"},
    "convert/torch/pickled.py": {"torch.load"},
    "convert/torch/factory.py": {"torch.load weights only"},
    "apps/torchserve/shims/ts/torch_handler/base_handler.py": {"torch.load weights only"},
}
SERVING = ("server", "serving", "protocols", "runtime", "artifact")


def uses(tree: ast.AST) -> set[str]:
    """Loaders that a module imports or calls, however deep inside a function."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} & LOADERS
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {(node.module or "").partition(".")[0]} & LOADERS
        elif isinstance(node, ast.Call):
            found |= called(node)
    return found


def called(node: ast.Call) -> set[str]:
    name, keywords = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
    if name == "torch.load":
        return {"torch.load weights only" if keywords.get("weights_only") == "True" else "torch.load"}
    if name.endswith(("import_module", "__import__")) and node.args and isinstance(node.args[0], ast.Constant):
        return {str(node.args[0].value).partition(".")[0]} & LOADERS
    if name in ("np.load", "numpy.load") and keywords.get("allow_pickle") != "False":
        return {"numpy.load without allow_pickle=False"}
    return {"allow_pickle=True"} if keywords.get("allow_pickle") == "True" else set()


def test_only_the_modules_of_the_list_name_a_pickle_loader() -> None:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if used := uses(ast.parse(path.read_text(encoding="utf-8"))):
            found[path.relative_to(SOURCE).as_posix()] = used
    strangers = {name: used - ALLOWED.get(name, set()) for name, used in found.items()}
    assert {name: used for name, used in strangers.items() if used} == {}


def test_the_check_sees_what_it_looks_for() -> None:
    code = """
def f():
    import joblib.numpy_pickle
    from pickle import loads
    np.load(x)
    torch.load(x)
    import_module("dill")
"""
    assert uses(ast.parse(code)) == {"joblib", "pickle", "dill", "torch.load", "numpy.load without allow_pickle=False"}


# The native runners are imported for an artifact with such a variant only; xgboost, lightgbm and catboost import
# scikit-learn or plotly, and so joblib or cloudpickle, where those are installed. Their own formats hold no pickle.
NATIVE = {"setsail.runtime.xgboost_native", "setsail.runtime.lightgbm_native", "setsail.runtime.catboost_native"}
ABSENT = {"joblib", "dill", "cloudpickle", "skops", "sklearn", "torch"}


def test_the_serving_side_imports_no_package_that_loads_pickles() -> None:
    walked = [m.name for part in SERVING for m in pkgutil.walk_packages([str(SOURCE / part)], f"setsail.{part}.")]
    assert set(walked) > NATIVE
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    names = sorted(set(walked) - NATIVE)
    told = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr[-2000:]
    loaded = set(told.stdout.split())
    assert "setsail" in loaded
    assert loaded & ABSENT == set()
