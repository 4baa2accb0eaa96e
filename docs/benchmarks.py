"""Run tests/benchmarks and keep its figures in docs/benchmarks.json; with --check, only see that none is missing there.

Timings differ from machine to machine and from run to run, so CI repeats the run but compares names alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
KEPT = DOCS / "benchmarks.json"
PACKAGES = ("numpy", "scipy", "torch", "torchvision", "timm", "tensorflow-cpu", "keras-cv")


def measure() -> dict[str, Any]:
    """Smallest, median and largest time of every contender in seconds, by group and name, and where that was."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.json"
        command = [sys.executable, "-m", "pytest", "-q", "tests/benchmarks", f"--benchmark-json={raw}"]
        subprocess.run(command, cwd=DOCS.parent, check=True, stdout=subprocess.DEVNULL)
        results = json.loads(raw.read_text(encoding="utf-8"))
    times: dict[str, dict[str, list[float]]] = {}
    for one in results["benchmarks"]:
        stats = one["stats"]
        times.setdefault(one["group"], {})[one["name"]] = [stats["min"], stats["median"], stats["max"]]
    return {
        "cores": results["machine_info"]["cpu"]["count"],
        "cpu": results["machine_info"]["cpu"].get("brand_raw", platform.machine()),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "seconds": times,
    }


def names(times: dict[str, dict[str, list[float]]]) -> set[tuple[str, str]]:
    """What was measured."""
    return {(group, name) for group, contenders in times.items() for name in contenders}


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the kept figures lack any")
    check = parser.parse_args().check
    measured = measure()
    if not check:
        KEPT.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        return 0
    differing = names(measured["seconds"]) ^ names(json.loads(KEPT.read_text(encoding="utf-8"))["seconds"])
    for one in sorted(differing):
        print(f"measured now or in {KEPT.name}, not in both: {one}", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
