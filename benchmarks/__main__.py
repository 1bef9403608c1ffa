"""`python -m benchmarks [name ...]`: ask the short questions, or those named."""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks import beside_writer, engine, import_cost, loop_stall, recall

QUESTIONS: dict[str, Callable[[], None]] = {
    "import_cost": import_cost.main,
    "loop_stall": loop_stall.main,
    "engine": engine.main,
    "beside_writer": beside_writer.main,
    "recall": recall.main,
}
LONG: dict[str, Callable[[], None]] = {
    "engine_full": engine.full,
    "recall_full": recall.full,
}
ALL = QUESTIONS | LONG

unknown = [name for name in sys.argv[1:] if name not in ALL]
if unknown:
    sys.exit(f"error: no such benchmark: {', '.join(unknown)}; there are {', '.join(ALL)}")
for name in sys.argv[1:] or QUESTIONS:
    print(f"== {name}")
    ALL[name]()
