"""The files of smile_async, in the order a reader should meet them: each imports only what stands above it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground_coverage import GROUND

import smile_async

#: anyio, sockets, clocks and logs begin here.
STREET = (
    "clock",
    "telemetry",
    "engine",
    "tls",
    "sockets",
    "httpcore_engine",
    "pyreqwest_engine",
    "transport",
    "fetching",
    "intake",
    "gate",
    "pool",
    "retrying",
    "refusals",
    "server_clock",
    "courier",
    "agenda",
    "poller",
    "waiting",
    "host",
    "ledger",
    "sender",
    "confirming",
    "stream",
    "session",
    "callbacks",
)
#: What stands on top: nobody below imports it.
ROOF = ("webapi", "batch", "report", "workers", "testing", "virtual_clock", "sandbox", "cli", "pytest_plugin")
ORDER = (*GROUND, *STREET, *ROOF)

#: A pure file asks nobody for the time, for luck, for a socket or for a setting.
IMPURE = {
    *(
        "aiohttp",
        "anyio",
        "asyncio",
        "httpcore",
        "httpx",
        "httpx2",
        "pyreqwest",
        "requests",
        "socket",
        "ssl",
        "urllib3",
    ),
    *("io", "logging", "pathlib", "random", "secrets", "shutil", "subprocess", "tempfile", "threading", "time"),
}
#: Calls that do the same through the back door; a function that is handed in under such a name is the caller's.
IMPURE_CALLS = {"open", "print", "input"}
IMPURE_METHODS = {"now", "utcnow", "today"}
#: All that paths need of `os`; not its environment, files or randomness.
PURE_OS = {"PathLike", "fspath"}

PACKAGE = Path(smile_async.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def _place(path: Path) -> str:
    """The name *path* has in the order: a package within smile_async is one name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: what stands under `if TYPE_CHECKING:` does not."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        typing_only = isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for part in child.orelse if typing_only and isinstance(child, ast.If) else [child]:
            yield from _running(part)


def _imports(path: Path, text: str | None = None) -> Iterator[str]:
    """The full names of what *path* imports, function-level imports included."""
    package = [PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1]]
    for node in _running(ast.parse(path.read_text() if text is None else text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*home, *([node.module] if node.module else [])])
            # `from smile_async import x` may name a file; `from smile_async.x import y` names x.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _ours(path: Path) -> Iterator[str]:
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == PACKAGE.name and parts[1] in ORDER:
            yield parts[1]
        elif parts[0] == PACKAGE.name:
            yield "session"  # the table of contents draws in all of the street


def test_every_file_has_its_place_in_the_order() -> None:
    """A new file can not slip in unnoticed: it has to be given its place in the reading order."""
    places = {_place(path) for path in FILES} - {"__init__"}
    assert places - set(ORDER) == set(), "give these files a place in the order above"
    assert set(GROUND) <= places
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize(
    "path", [p for p in FILES if _place(p) != "__init__"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_a_file_imports_only_what_stands_above_it(path: Path) -> None:
    """Reading from the top, one never meets a name that is explained further down."""
    place = _place(path)
    above = set(ORDER[: ORDER.index(place)])
    if path.parent != PACKAGE:
        above.add(place)
    assert set(_ours(path)) - above == set()


@pytest.mark.parametrize("name", GROUND)
def test_the_ground_is_pure(name: str) -> None:
    """A file of the ground imports no network, loop, clock, luck, log or file, and gets at none by another way."""
    path = PACKAGE / f"{name}.py"
    assert {found.split(".")[0] for found in _imports(path)} & IMPURE == set()
    nodes = list(_running(ast.parse(path.read_text())))
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    assert {call.id for call in calls if isinstance(call, ast.Name)} & IMPURE_CALLS == set()
    assert {call.attr for call in calls if isinstance(call, ast.Attribute)} & IMPURE_METHODS == set()
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    assert {node.attr for node in attributes if ast.unparse(node.value) == "os"} <= PURE_OS


def test_only_transport_imports_httpx() -> None:
    """Below the roof, one file knows the HTTP client: the engine can be exchanged there and nowhere else."""
    users = {
        path.name
        for path in FILES
        if _place(path) not in ROOF and any(name.split(".")[0] == "httpx" for name in _imports(path))
    }
    assert users == {"transport.py"}


def test_nobody_below_imports_the_roof() -> None:
    """What stands on the roof can be taken off: not even the table of contents draws it in."""
    lower = [path for path in FILES if _place(path) not in ROOF]
    assert {(path.name, name) for path in lower for name in _ours(path) if name in ROOF} == set()


def test_the_table_of_contents_is_read_on_demand() -> None:
    """The package itself loads only its errors, a job only the ground, and all names together none of the roof."""
    text = """
import sys
import smile_async
before = set(sys.modules)
smile_async.Job
ground = set(sys.modules)
from smile_async import *
all_names = set(sys.modules)
for loaded in before, ground, all_names:
    print(*(name.split(".")[1] for name in loaded if name.startswith("smile_async.")))
"""
    out = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
    before, ground, all_names = (set(line.split()) for line in out.splitlines())
    assert before == {"errors"}
    assert ground <= set(GROUND)
    assert {"session", "callbacks"} <= all_names <= set(ORDER) - set(ROOF)


def test_the_table_of_contents_is_whole() -> None:
    """Every public name is there to be asked for, listed and imported; any other is an AttributeError."""
    names: dict[str, object] = {}
    exec("from smile_async import *", names)
    assert set(smile_async.__all__) == names.keys() - {"__builtins__"}
    assert set(smile_async.__all__) <= set(dir(smile_async))
    assert all(value is getattr(smile_async, name) for name, value in names.items() if name != "__builtins__")
    with pytest.raises(AttributeError, match="module 'smile_async' has no attribute 'Jbo'"):
        _ = smile_async.Jbo  # type: ignore[attr-defined]


def test_the_finder_sees_what_it_is_to_find() -> None:
    """The check itself works: it sees relative and function-level imports, and passes over TYPE_CHECKING blocks."""
    text = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import hidden
else:
    import shown
def later():
    from .settings import Limits
    from . import wire
"""
    found = set(_imports(PACKAGE / "any.py", text))
    assert found == {"typing.TYPE_CHECKING", "shown", "smile_async.settings.Limits", "smile_async.wire"}
    inside = set(_imports(PACKAGE / "sandbox" / "any.py", "from .desk import Desk\nfrom ..codes import MEANINGS"))
    assert inside == {"smile_async.sandbox.desk.Desk", "smile_async.codes.MEANINGS"}
