"""The built site: links lead somewhere, nothing leaves it, and pages can be read on any screen."""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(__file__).parents[2] / "docs/_build/html"
pytestmark = pytest.mark.skipif(
    not (SITE / "index.html").exists(), reason="the site is not built; `make html` builds it"
)
MADE = ("_modules", "_static", "_downloads", "_sources")  # pages of code, not of prose
PAGES = sorted(
    page for page in SITE.rglob("*.html") if not set(MADE) & set(page.relative_to(SITE).parts)
)
THEIRS = {"generated", "search.html", "genindex.html", "py-modindex.html"}
WRITTEN = [page for page in PAGES if not THEIRS & {*page.parts}]  # by hand or from a script
SOME_GENERATED = [page for page in PAGES if "generated" in page.parts][::20]


class Page(HTMLParser):
    """The links, targets and pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.targets: set[str] = set()
        self.pictures: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.targets |= {value for key in ("id", "name") if (value := given.get(key))}
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag == "img":
            self.pictures.append(given)


@cache
def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def name_of(page: Path) -> str:
    return str(page.relative_to(SITE).with_suffix(""))


def dead(page: Path, link: str) -> bool:
    url = urlsplit(link)
    if url.scheme:
        return url.scheme not in ("https", "mailto")
    target = (page.parent / unquote(url.path)).resolve() if url.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.exists():
        return True
    anchored = url.fragment and target.suffix == ".html" and "_modules" not in target.parts
    return bool(anchored) and unquote(url.fragment) not in read(target).targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    assert [link for link in read(page).links if dead(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_picture_has_a_text(page):
    silent = [img for img in read(page).pictures if img.get("alt") is None]
    assert silent == []


# Texts whose contrast with the colour behind them is below the rule of WCAG 2: 4.5, 3 where large.
TOO_FAINT = """() => {
  const numbers = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const bright = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const c = numbers(getComputedStyle(node).backgroundColor);
      if (c.length && (c.length < 4 || c[3] > .9)) return c;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const root = document.querySelector('article, main');
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), node = walker.currentNode.parentElement;
    const style = getComputedStyle(node);
    if (!text || style.visibility === 'hidden' || !node.getBoundingClientRect().width) continue;
    if (node.closest('svg, mjx-container, .headerlink')) continue;
    const both = [bright(numbers(style.color)), bright(behind(node))].sort((x, y) => y - x);
    const ratio = (both[0] + .05) / (both[1] + .05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5))
      faint.push(`${text.slice(0, 40)}: ${style.color}, ${ratio.toFixed(1)}`);
  }
  return faint;
}"""


@pytest.mark.parametrize("page", [*WRITTEN, *SOME_GENERATED], ids=name_of)
def test_a_page_can_be_read(browser, page):
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    said, asked = [], []
    opened.on("console", lambda message: said.append((message.type, message.text)))
    opened.on("pageerror", lambda error: said.append(("error", str(error))))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(page.as_uri())
    for scheme in ("light", "dark"):
        opened.emulate_media(color_scheme=scheme)
        opened.wait_for_selector(f"html[data-theme={scheme}]")
        assert opened.evaluate(TOO_FAINT) == []
    for width in (1280, 360):
        opened.set_viewport_size({"width": width, "height": 900})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.close()
    assert [text for kind, text in said if kind in ("error", "warning")] == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_keyboard_reaches_the_text_first(browser):
    opened = browser.new_page()
    opened.goto((SITE / "index.html").as_uri())
    opened.keyboard.press("Tab")
    assert "Skip to main content" in opened.evaluate("document.activeElement.textContent")
    opened.close()
