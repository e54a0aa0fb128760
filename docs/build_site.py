"""The site of `make docs`: the README, and a page for each package that users import, its guide first.

`python docs/build_site.py FOLDER` writes it, and fails for a warning of pdoc's and for a link that leads nowhere. Pages
need no network: styles and search are in them.
"""

import importlib
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pdoc.doc
import pdoc.render

ROOT = Path(__file__).resolve().parent.parent
#: In the order of the menu.
PAGES = {
    "smile_async": "Overview",
    "smile_async.settings": "Your account",
    "smile_async.doctor": "First contact",
    "smile_async.callbacks": "Callbacks",
    "smile_async.testing": "Testing",
    "smile_async.pytest_plugin": "Fixtures",
    "smile_async.jobs": "Products",
    "smile_async.jobs.makers": "Constructors of jobs",
    "smile_async.errors": "Errors",
    "smile_async.traffic": "Production",
    "smile_async.batch": "Batches",
    "smile_async.workers": "Many machines",
    "smile_async.ledger": "Ledger",
    "smile_async.sandbox": "Sandbox",
    "smile_async.cli": "Command line",
    "smile_async.webapi": "Migrating",
    "smile_async.protocol.v3": "V3",
}
#: Files that the README leads to, and where they are on the site.
TEXTS = {"README.md": "index.html", "CHANGELOG.md": "changelog.html"}


def build(folder: Path) -> None:
    """Write the site into *folder*, anew; what pdoc warns of is raised."""
    shutil.rmtree(folder, ignore_errors=True)
    # Imported first: pdoc forbids what it imports to start a process, and a dependency of Procrastinate's does.
    modules = {name: importlib.import_module(name) for name in PAGES}
    for module in modules.values():
        # The package itself loads a name when it is first asked for; pdoc would not ask.
        exec(f"from {module.__name__} import *", {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.render.configure(docformat="markdown", show_source=False, template_directory=ROOT / "docs")
        pdoc.render.env.globals["titles"] = PAGES
        documented = {name: pdoc.doc.Module(module) for name, module in modules.items()}
        for name, module in documented.items():
            _write(folder / f"{name.replace('.', '/')}.html", pdoc.render.html_module(module, documented))
        for source, target in TEXTS.items():
            page = pdoc.render.env.get_template("page.html.jinja2")
            text = _relinked((ROOT / source).read_text(encoding="utf-8"))
            _write(folder / target, page.render(text=text, title=source, all_modules=documented))
        _write(folder / "search.js", pdoc.render.search_index(documented))
    shutil.copy(ROOT / "LICENSE", folder)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _relinked(text: str) -> str:
    """*text* with its links to our files turned into links to their pages."""
    text = re.sub(r"\]\((smile_async[\w/]*?)(/__init__)?\.py\)", r"](\1.html)", text)
    for source, target in TEXTS.items():
        text = text.replace(f"]({source})", f"]({target})")
    return text


class _Links(HTMLParser):
    """What a page leads to, and where in it one can be led."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the parser's
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            elif name in ("href", "src"):
                self.links.add(value or "")


def dead_links(folder: Path) -> Iterator[str]:
    """A line for each link within the site that leads nowhere."""
    pages = {path: _Links(path) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        for link in sorted(page.links):
            url = urlsplit(link)
            if url.scheme in ("http", "https", "data"):
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            known = pages[target].anchors if target in pages else {""}
            if not target.is_file() or unquote(url.fragment) not in known:
                yield f"{path.relative_to(folder)}: {link} leads nowhere"


def main(folder: Path) -> int:
    """Build, and say what leads nowhere; 1 if anything does."""
    build(folder.resolve())
    dead = list(dead_links(folder.resolve()))
    print("\n".join(dead) or f"{len(PAGES)} modules: open {folder / 'index.html'}")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
