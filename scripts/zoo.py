"""Run the zoo and keep how near every served model came to its source: docs/frameworks/agreement.json.

    python scripts/zoo.py [PYTEST OPTIONS]

`scripts/docs.py` makes the table of docs/frameworks/README.md of it. What cannot run here (a framework that is not
installed) keeps the row it had.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
KEPT: Final = ROOT / "docs" / "frameworks" / "agreement.json"


def main(options: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "tests/zoo", *options], cwd=ROOT, check=False,
            env={**os.environ, "SETSAIL_ZOO": folder, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        rows = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        found = {path.stem: json.loads(path.read_text()) for path in Path(folder).glob("*.json")}
    KEPT.write_text(json.dumps(dict(sorted({**rows, **found}.items())), indent=1, ensure_ascii=False) + "\n")
    print(f"{len(found)} models, {len(rows.keys() - found.keys())} rows as they were: {KEPT.relative_to(ROOT)}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
