"""Build web/ into targets/browser/static and server/pages, where the wheel takes it from. Needs Node 20 or newer.

python scripts/web.py            installs what package-lock.json says, checks types, tests, builds
python scripts/web.py --check    exits with 1 where what lies there was built of other sources (needs no Node)
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
WEB: Final = ROOT / "web"
STATIC: Final = ROOT / "src/setsail/targets/browser/static"
MARK: Final = STATIC / "sources.sha256"


def digest(web: Path = WEB) -> str:
    """Of everything that the bundle is made of, names included."""
    found = hashlib.sha256()
    files = [
        *(web / "src").rglob("*.ts"),
        *(web / "console").rglob("*.ts"),
        *(web / "public").rglob("*"),
        web / "vite.config.ts",
        web / "package-lock.json",
    ]
    for path in sorted(p for p in files if p.is_file()):
        found.update(f"{path.relative_to(web).as_posix()}\0{path.stat().st_size}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def build(web: Path = WEB) -> None:
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        subprocess.run(command, cwd=web, check=True)


def main() -> int:
    if "--check" in sys.argv[1:]:
        same = MARK.is_file() and MARK.read_text().strip() == digest()
        print("the bundle is of these sources" if same else "the bundle is of other sources: python scripts/web.py")
        return 0 if same else 1
    build()
    subprocess.run(["npm", "test"], cwd=WEB, check=True)
    MARK.write_text(digest() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
