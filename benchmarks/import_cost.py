"""What does `import memlane` cost, against the `import numpy` it stands on?"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.rounds import keep, spread

ROUNDS = 15

_NUMPY = "import time; t = time.process_time(); import numpy; print(time.process_time() - t)"
_MEMLANE = (
    "import numpy, time; t = time.process_time(); import memlane; print(time.process_time() - t)"
)


def _cpu(code: str, compiled: str) -> float:
    # As installed packages are: compiled before, wherever this machine keeps that.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return float(done.stdout) * 1000


def main(*, rounds: int = ROUNDS) -> None:
    """Import in fresh processes, in turn, and keep the ratio of the medians."""
    with tempfile.TemporaryDirectory() as compiled:
        _cpu(_NUMPY, compiled), _cpu(_MEMLANE, compiled)
        pairs = [(_cpu(_NUMPY, compiled), _cpu(_MEMLANE, compiled)) for _ in range(rounds)]
    numpy_ms, memlane_ms = zip(*pairs, strict=True)
    ratio = statistics.median(memlane_ms) / statistics.median(numpy_ms)
    print(f"import memlane / import numpy, CPU: {ratio:.2f}")
    keep(
        "import_cost",
        "CPU of `import memlane` with numpy already imported, against `import numpy`",
        {
            "import_numpy_ms": spread(numpy_ms),
            "import_memlane_ms": spread(memlane_ms),
            "ratio": round(ratio, 3),
            "at_most": 0.75,
        },
    )


if __name__ == "__main__":
    main()
