"""Make the generated parts of the documentation again; with --check, fail where one is stale.

Generated are the text between [[[cog ...]]] and [[[end]]] in README.md and docs/*.md (what writes it is in blocks.py),
and the images of docs/images, by the functions in the FIGURES of docs/figures/*.py.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from cogapp import Cog
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
# Root mean square of the difference, of 255: below it lies what rounding does to a line, above it any changed word.
TOLERANCE = 0.2


def pages() -> list[Path]:
    """The pages that may have generated parts."""
    return [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]


def stale_texts(chosen: list[Path], *, check: bool) -> Iterator[str]:
    """Run cog over the pages; name those that differ, if they are only to be checked."""
    for page in chosen:
        how = ["--check", "--diff"] if check else ["-r"]
        code = Cog().callable_main(["cog", "-P", "-e", "-I", str(DOCS), "-p", "from blocks import *", *how, str(page)])
        if code:
            yield f"{page}: its generated text is stale"


def stale_figures(scripts: list[Path], *, check: bool) -> Iterator[str]:
    """Draw all figures; name those that differ, if they are only to be checked."""
    for script in scripts:
        figures: dict[str, Callable[[], Figure]] = runpy.run_path(str(script))["FIGURES"]
        for name, draw in figures.items():
            image = IMAGES / f"{name}.png"
            print(f"{script.relative_to(DOCS)}: {name}")
            if not check:
                save(draw(), image)
            elif not image.exists():
                yield f"{image}: missing"
            else:
                with tempfile.TemporaryDirectory() as folder:
                    drawn = Path(folder) / image.name
                    save(draw(), drawn)
                    try:
                        difference = compare_images(str(image), str(drawn), tol=TOLERANCE)
                    except Exception as error:  # images of different sizes
                        difference = str(error)
                    if difference:
                        yield f"{image}: stale: {difference}"


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without the date or the version of what wrote it."""
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if anything is stale")
    parser.add_argument("names", nargs="*", help="only the pages and figure scripts of these names, as in theory")
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:  # a framework's threads do not survive a fork
        found = pool.map(partial(stale, check=options.check), tasks(set(options.names)))
        lines = [line for some in found for line in some]
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


def tasks(names: set[str]) -> list[list[Path]]:
    """The pages and scripts of figures to look at, of these names or all; what shares its verdicts is one task."""
    stems: dict[str, list[Path]] = {}
    for path in (*pages(), *sorted((DOCS / "figures").glob("*.py"))):
        if not names or path.stem in names:
            stems.setdefault("findings" if path.stem == "README" else path.stem, []).append(path)
    return list(stems.values())


def stale(task: list[Path], *, check: bool) -> list[str]:
    """What is stale of these pages and figures."""
    return [
        *stale_figures([path for path in task if path.suffix == ".py"], check=check),
        *stale_texts([path for path in task if path.suffix == ".md"], check=check),
    ]


if __name__ == "__main__":
    sys.exit(main())
