"""A real browser, headless, that notes whatever a page asks for and wherever it breaks."""

import os
import shutil

import pytest

CHROMIUM = os.environ.get("BIASPROP_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    """Chromium; without it these tests are skipped, or fail where it must be there."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        if os.environ.get("BIASPROP_REQUIRE_BROWSER") == "1":
            pytest.fail("there is no chromium: apt-get install chromium, or set BIASPROP_CHROMIUM")
        pytest.skip("no chromium: set BIASPROP_CHROMIUM")
    with playwright.sync_playwright() as run:
        found = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page, and watches that it asks for nothing and breaks nowhere."""
    pages = []

    def open_(html, **options):
        path = tmp_path / f"{len(pages)}.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_page(**{"viewport": {"width": 1400, "height": 900}, **options})
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url))
        page.goto(path.as_uri())
        page.wait_for_timeout(200)
        pages.append((page, wrong))
        return page

    yield open_
    for page, wrong in pages:
        assert wrong == []
        page.close()
