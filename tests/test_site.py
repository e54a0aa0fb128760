"""The site of `make docs`: built without a warning, no link dead, and nothing in it comes from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from guides import GUIDES, ROOT

pytest.importorskip("pdoc", reason="pdoc is not installed: make venv")
sys.path.insert(0, str(ROOT / "docs"))
import build_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does, in a process of its own."""
    folder = tmp_path_factory.mktemp("site") / "pages"
    command = [sys.executable, str(ROOT / "docs" / "build_site.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return folder


def test_every_guide_has_a_page(site: Path) -> None:
    """Each guide is a page, the README is the first one, and its links to guides lead to their pages."""
    first = (site / "index.html").read_text()
    for module in GUIDES:
        page = f"{module.replace('.', '/')}.html"
        assert (site / page).is_file()
        assert f'href="{page}"' in first
    assert "welcome, ada" in first
    assert "async" in (site / "smile_async.html").read_text()


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    """A page loads no script, style, font or picture from a network."""
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r"""<(?:script|img|iframe)[^>]*\ssrc=["'](?!data:)([^"']*)""", text)
        loaded += re.findall(r"""<link[^>]*\shref=["'](?!data:)([^"']*)""", text)
        assert [url for url in loaded if "//" in url] == []
        assert not re.search(r"url\(\s*[\"']?https?:|@import", text)


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    """The check itself works: a page and an anchor that are not there are named, and those that are, are not."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.html").write_text('<p id="x">', encoding="utf-8")
    links = ("deep/b.html", "deep/b.html#x", "deep/b.html#y", "#y", "c.html", "https://example.org/")
    (tmp_path / "a.html").write_text("".join(f'<a href="{link}">' for link in links), encoding="utf-8")
    dead = [line.split()[1] for line in build_site.dead_links(tmp_path)]
    assert dead == ["#y", "c.html", "deep/b.html#y"]
