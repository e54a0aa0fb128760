"""The extra that ledgers need, where it is not installed."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["ledger", "batch", "workers"])
def test_a_missing_extra_is_named(module: str) -> None:
    """Whoever imports what needs a ledger is told what to install."""
    code = f"import sys; sys.modules['sqlalchemy'] = None; import smile_async.{module}"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last == "ImportError: a ledger needs the package sqlalchemy: run  pip install 'smile-async[batch]'"
