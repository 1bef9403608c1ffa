"""Without Strands there is one line that says what to do."""

from __future__ import annotations

import subprocess
import sys


def test_without_strands() -> None:
    """Without strands-agents the import says in one line what to install."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['strands'] = None; import memlane_strands"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr.splitlines()[-1] == (
        "memlane.errors.MissingExtraError: memlane_strands needs strands-agents 1.62 or newer; "
        "pip install 'memlane[strands]'"
    )
