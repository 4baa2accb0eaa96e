"""The built documentation in a browser without a network: pytest tests/site (needs Chromium and the extra docs)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, sync_playwright

DOCS = Path(__file__).resolve().parents[2] / "docs"
WRITTEN = sorted(page.stem for page in DOCS.glob("*.md"))
OFFLINE = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from nothing; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "-q", "-W", "--keep-going", "-n", "-E", "-d", str(folder / "doctrees")]
    subprocess.run([sys.executable, *command, str(DOCS), str(folder / "html")], check=True)
    return folder / "html"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium is not None, "this test needs Chromium, for example the package chromium of Debian"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=list(OFFLINE))


def look_at(browser: Browser, page_file: Path) -> dict[str, Any]:
    """What a reader without a network sees of a page."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"not loaded: {request.url}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_load_state("load")
    formulas = page.locator(".math").count()
    if formulas:
        page.wait_for_function(f"document.querySelectorAll('mjx-container').length >= {formulas}", timeout=60_000)
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()  # images may load only when they are looked at
    seen: dict[str, Any] = page.evaluate(
        """() => ({
            title: document.querySelector("h1").innerText,
            heights: [...document.querySelectorAll("mjx-container")].map(one => one.getBoundingClientRect().height),
            wrong: [...document.querySelectorAll("mjx-merror, .problematic, .system-message")].map(
                one => one.innerText),
            images: [...document.querySelectorAll("article img")].map(
                one => [one.getAttribute("src"), one.alt, one.complete ? one.naturalWidth : 0,
                        one.getBoundingClientRect().width]),
            raw: document.querySelector("article").innerText.match(/\\\\(frac|sum|prod|gamma)|cog\\]/g) || [],
        })"""
    )
    page.close()
    return seen | {"formulas": formulas, "complaints": complaints, "asked": asked}


@pytest.mark.parametrize("name", WRITTEN)
def test_page_shows_all_it_has_without_a_network(site: Path, browser: Browser, name: str) -> None:
    seen = look_at(browser, site / f"{name}.html")
    assert seen["complaints"] == []
    assert [url for url in seen["asked"] if not url.startswith(("file:", "data:"))] == []
    assert seen["title"]
    assert len(seen["heights"]) == seen["formulas"]
    assert all(height > 5 for height in seen["heights"])
    assert seen["wrong"] == []
    assert seen["raw"] == []  # no formula and no comment of the source shows as text
    for source, alt, pixels, width in seen["images"]:
        assert pixels > 100, source
        assert width > 100, source
        assert len(alt) > 10, source


@pytest.mark.parametrize(("name", "formulas", "images"), [("algorithm", 5, 2), ("theory", 20, 3), ("why_blocks", 0, 3)])
def test_pages_of_mathematics_and_pictures_have_them(
    site: Path, browser: Browser, name: str, formulas: int, images: int
) -> None:
    seen = look_at(browser, site / f"{name}.html")
    assert seen["formulas"] >= formulas
    assert len(seen["images"]) >= images


class Links(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if (tag, name) in {("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")} and value:
                self.links.append(value)


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    pages = {page: Links(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    assert len(pages) > len(WRITTEN)
    broken = []
    for page, parsed in pages.items():
        for link in parsed.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.exists() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors
            ):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_every_public_name_has_a_page(site: Path) -> None:
    import dropblock_ref
    from dropblock_ref import backends, testing

    documented = {page.stem for page in (site / "generated").glob("*.html")}
    public = {f"dropblock_ref.{name}" for name in dropblock_ref.__all__}
    public |= {f"dropblock_ref.testing.{name}" for name in testing.__all__}
    public |= {f"dropblock_ref.backends.{name}" for name in backends.__all__}
    data = {"CONVENTIONS", "PAPER", "backends.NAMES", "testing.REPORT_SCHEMA", "testing.strategies"}
    modules = {"backends", "testing", "theory", "__version__"}
    assert {name.removeprefix("dropblock_ref.") for name in public - documented} <= data | modules
