"""The storeys of smile_async: what a line of code may touch is known from the folder it stands in."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import public_names
import pytest
from ground_coverage import GROUND, PACKAGE

import smile_async

#: From the ground up: a file imports from its own storey and from those below it, never from one above.
STOREYS = (
    ("errors", "urls", "limits", "log", "contained", "undivided"),
    ("timing",),
    ("jobs",),
    ("protocol",),
    ("settings",),
    ("transport",),
    ("ledger",),
    ("traffic",),
    ("session",),
    ("callbacks", "webapi", "testing"),
    ("sandbox",),
    ("batch",),
    ("workers", "report", "doctor"),
    ("pytest_plugin", "cli"),
    ("__main__",),
)
LEVEL = {name: level for level, storey in enumerate(STOREYS) for name in storey}
#: `from smile_async import X` draws in what X needs; of all of them the session stands highest but for its faces.
TABLE_OF_CONTENTS = "session"
#: Storeys that use less than all below them.
ONLY = {
    "timing": {"errors", "limits", "log"},
    "jobs": {"errors", "urls"},
    "ledger": {"errors", "log", "undivided", "timing", "jobs", "protocol.steps"},
    # The provider on your desk: sharing our wire with it would prove that we agree with ourselves.
    "sandbox": {"timing.clock", "jobs.codes", "jobs.ticket", "undivided", "urls"},
}
#: What stands on top: nobody below imports it.
ROOF = ("sandbox", "batch", "workers", "report", "doctor", "pytest_plugin", "cli", "__main__", "webapi", "testing")

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

FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def _storey(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def _name(path: Path) -> str:
    """`timing.clock` for `timing/clock.py`, `timing` for the package itself."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


NAMES = {_name(path) for path in FILES}


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: what stands under `if TYPE_CHECKING:` does not."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        typing_only = isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for part in child.orelse if typing_only and isinstance(child, ast.If) else [child]:
            yield from _running(part)


@cache
def _nodes(path: Path) -> list[ast.AST]:
    return list(_running(ast.parse(path.read_text())))


def _imports(path: Path, text: str | None = None) -> Iterator[str]:
    """The full names of what *path* imports, function-level imports included."""
    package = [PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1]]
    for node in _nodes(path) if text is None else _running(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*home, *([node.module] if node.module else [])])
            # `from smile_async import x` may name a file; `from smile_async.x import y` names x.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _ours(path: Path) -> Iterator[str]:
    """The files of ours that *path* imports, by the names `_name` gives."""
    for full in _imports(path):
        package, _, name = full.partition(".")
        if package == PACKAGE.name and name:
            while name and name not in NAMES:
                name = name.rpartition(".")[0]
            yield name or TABLE_OF_CONTENTS


def test_every_file_has_a_storey() -> None:
    """A new file can not slip in unnoticed: it stands on a storey of the table, and the table names none in vain."""
    assert {_storey(name) for name in NAMES} == set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_file_imports_only_from_its_own_storey_and_below(path: Path) -> None:
    """Whoever reads a file knows from its folder what it may touch."""
    mine = _storey(_name(path))
    theirs = set(_ours(path))
    assert {name for name in theirs if LEVEL[_storey(name)] > LEVEL[mine]} == set()
    foreign = {name for name in theirs if _storey(name) != mine}
    allowed = ONLY.get(mine)
    assert allowed is None or {name for name in foreign if not {name, _storey(name)} & allowed} == set()


def test_no_circles() -> None:
    """Within a storey, too, files have an order in which a reader can meet them."""
    graph = {_name(path): set(_ours(path)) - {_name(path)} for path in FILES}
    for name, used in graph.items():
        # A package's own table of contents imports its files; they are found through it.
        used -= {name.rpartition(".")[0]}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("name", GROUND)
def test_the_ground_is_pure(name: str) -> None:
    """A file of the ground imports no network, loop, clock, luck, log or file, and gets at none by another way."""
    path = PACKAGE / name
    assert {found.split(".")[0] for found in _imports(path)} & IMPURE == set()
    nodes = _nodes(path)
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    assert {call.id for call in calls if isinstance(call, ast.Name)} & IMPURE_CALLS == set()
    assert {call.attr for call in calls if isinstance(call, ast.Attribute)} & IMPURE_METHODS == set()
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    assert {node.attr for node in attributes if ast.unparse(node.value) == "os"} <= PURE_OS


def test_only_the_transport_imports_an_http_library() -> None:
    """Below the roof, one storey knows the HTTP clients: an engine can be exchanged there and nowhere else."""
    clients = {"httpx", "httpx2", "httpcore", "httpcore2", "pyreqwest", "h11", "h2"}
    users = {
        _storey(_name(path))
        for path in FILES
        if _storey(_name(path)) not in ROOF and {name.split(".")[0] for name in _imports(path)} & clients
    }
    assert users == {"transport"}


def test_nobody_below_imports_the_roof() -> None:
    """What stands on the roof can be taken off: not even the table of contents draws it in."""
    lower = [PACKAGE / "__init__.py", *(path for path in FILES if _storey(_name(path)) not in ROOF)]
    assert {(path.name, name) for path in lower for name in _ours(path) if _storey(name) in ROOF} == set()


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
    print(*(name.removeprefix("smile_async.") for name in loaded if name.startswith("smile_async.")))
"""
    out = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
    before, ground, all_names = (set(line.split()) for line in out.splitlines())
    assert before == {"errors"}
    assert {f"{name.replace('.', '/')}.py" for name in ground} - {*GROUND} == {"jobs.py"}
    assert {"session", "callbacks"} <= all_names
    assert {_storey(name) for name in all_names} & {*ROOF, "ledger"} == set()


def test_the_table_of_contents_is_whole() -> None:
    """Every public name is there to be asked for, listed and imported; any other is an AttributeError."""
    names: dict[str, object] = {}
    exec("from smile_async import *", names)
    assert set(smile_async.__all__) == names.keys() - {"__builtins__"}
    assert set(smile_async.__all__) <= set(dir(smile_async))
    assert all(value is getattr(smile_async, name) for name, value in names.items() if name != "__builtins__")
    assert smile_async.__version__ == version("smile-async")
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


def test_every_documented_name_is_there() -> None:
    """The import paths of the contract hold; `make dist` asks the same of the wheel, in empty environments."""
    wanted = public_names.CORE | public_names.EXTRAS
    assert [name for module, names in wanted.items() for name in public_names.missing(module, names)] == []


def test_the_tests_mirror_the_storeys() -> None:
    """A test stands in the folder of the storey it is about; `promises` and `simulator` need the whole house."""
    tests = Path(__file__).parent
    folders = {path.relative_to(tests).parts[0] for path in tests.rglob("test_*.py") if path.parent != tests}
    assert folders - {"promises", "simulator"} <= {name for name in LEVEL if (PACKAGE / name).is_dir()}
    names = [path.name for path in tests.rglob("test_*.py")]
    assert len(names) == len(set(names)), "pytest tells test files apart by their names alone"
