"""What we tell our users: the README, and the guides, which are docstrings; and the samples in them."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from street import Pictures

from smile_async.sandbox import RunningSandbox

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: The modules whose docstrings are guides.
GUIDES = (
    *("smile_async", "smile_async.batch", "smile_async.callbacks", "smile_async.cli", "smile_async.doctor"),
    *("smile_async.jobs", "smile_async.protocol.v3", "smile_async.pytest_plugin", "smile_async.sandbox"),
    *("smile_async.settings", "smile_async.testing", "smile_async.traffic", "smile_async.webapi"),
    *("smile_async.errors", "smile_async.workers"),
)
_BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    where: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}:{self.line}"

    @property
    def file(self) -> str:
        """The name under which a reader is to keep it, which its first line says; "" for what is a script."""
        named = re.match(r"# (\w+\.py)\b", self.text)
        return named[1] if named else ""

    @property
    def commands(self) -> list[str]:
        """The lines behind the prompt, without their comments."""
        return [line[2:].split("  #")[0].strip() for line in self.text.splitlines() if line.startswith("$ ")]


def home_of(module: str) -> Path:
    """The file of a *module*."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def texts() -> Iterator[tuple[Path, int, str]]:
    """The README and each guide: where it stands, in which line it begins, and what it says."""
    yield ROOT / "README.md", 1, README
    for module in GUIDES:
        path = home_of(module)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield path, tree.body[0].lineno, ast.get_docstring(tree) or ""


def guide(module: str) -> str:
    """What the docstring of *module* says."""
    return next(text for path, _, text in texts() if path == home_of(module))


def blocks(kind: str) -> list[Block]:
    """All blocks of this *kind*."""
    return [
        Block(path.relative_to(ROOT).as_posix(), first + text.count("\n", 0, found.start("text")), kind, found["text"])
        for path, first, text in texts()
        for found in _BLOCK.finditer(text)
        if found["kind"] == kind
    ]


def lay_out(desk: Path, pictures: Pictures) -> Path:
    """*desk*, with the files in it that the guides speak of."""
    for name in ("selfie.jpg", "me.jpg"):
        (desk / name).write_bytes(pictures.selfie)
    for number, frame in enumerate(pictures.liveness):
        (desk / f"frame_{number}.jpg").write_bytes(frame)
    return desk


def account(running: RunningSandbox) -> dict[str, str]:
    """The variables of an account at *running*."""
    return {
        "SMILE_PARTNER_ID": running.partner_id,
        "SMILE_API_KEY": running.api_key,
        "SMILE_BASE_URL": running.base_url,
        "SMILE_CA_FILE": running.ca_file,
    }
