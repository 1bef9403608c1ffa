"""`python -m benchmarks [name ...]`: run all questions, or those named."""

from __future__ import annotations

import sys

from benchmarks import import_cost, loop_stall

QUESTIONS = {"import_cost": import_cost.main, "loop_stall": loop_stall.main}

unknown = [name for name in sys.argv[1:] if name not in QUESTIONS]
if unknown:
    sys.exit(f"error: no such benchmark: {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
for name in sys.argv[1:] or QUESTIONS:
    print(f"== {name}")
    QUESTIONS[name]()
