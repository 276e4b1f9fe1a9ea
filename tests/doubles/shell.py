"""The command line as tests use it: in this process for speed, as a process of its own where that is the point."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from click.testing import CliRunner
from sklearn.datasets import load_iris

from setsail.cli import main

COLUMNS: Final = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@dataclass(frozen=True)
class Result:
    """What a command left: exit code, both streams, and the two as a person sees them."""

    code: int
    out: str
    err: str
    both: str = ""

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return self.document["error"]


def run(*args: object) -> Result:
    """`setsail ARGS` in this process and the current folder."""
    found = CliRunner().invoke(main, [str(a) for a in args], catch_exceptions=False)
    return Result(found.exit_code, found.stdout, found.stderr, found.output)


def process(*args: object, python: str = sys.executable, **options: Any) -> subprocess.Popen[str]:
    """`setsail ARGS` as a process of its own."""
    line = [python, "-m", "setsail", *map(str, args)]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, **(streams | options))


def wait(process: subprocess.Popen[str], seconds: float = 60) -> Result:
    """Its end."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Result(process.returncode, out or "", err or "")


# -- files to work on: real models, trained in a blink ---------------------------------------------------------------


def _booster(path: Path) -> None:
    import xgboost

    X, y = load_iris(return_X_y=True)
    data = xgboost.DMatrix(X, y, feature_names=list(COLUMNS))
    settings = {"objective": "multi:softprob", "num_class": 3, "nthread": 1, "max_depth": 3}
    xgboost.train(settings, data, 5).save_model(path)


def _joblib(path: Path) -> None:
    import joblib
    from sklearn.linear_model import LogisticRegression

    joblib.dump(LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True)), path)


def _rows(path: Path) -> None:
    X, _ = load_iris(return_X_y=True)
    np.savetxt(path, X, fmt="%.1f", delimiter=",", header=",".join(COLUMNS), comments="")


def _array(path: Path) -> None:
    np.save(path, load_iris(return_X_y=True)[0])


def _artifact(path: Path) -> None:
    booster = path.with_name("iris-for-packing.ubj")
    _booster(booster)
    packed = run("pack", booster, "--name", "iris", "-o", path, "--quiet")
    assert packed.code == 0, packed.err
    booster.unlink()


def _no_xgboost(path: Path) -> None:
    """A virtual environment with everything that this one has, but XGBoost."""
    venv.create(path, symlinks=True)
    own, ours = (sysconfig.get_path("purelib", vars={"base": str(base)}) for base in (path, sys.prefix))
    for entry in Path(ours).iterdir():
        if not entry.name.startswith(("xgboost", "pip", "__pycache__")):
            (Path(own) / entry.name).symlink_to(entry)


# These cannot be copied: they are made where they are used.
PLACES: Final[Mapping[str, Callable[[Path], None]]] = {"no-xgboost": _no_xgboost}
MAKERS: Final[Mapping[str, Callable[[Path], None]]] = {
    "iris.ubj": _booster, "iris.joblib": _joblib, "rows.csv": _rows, "rows.npy": _array, "iris-1.setsail": _artifact,
}  # fmt: skip
