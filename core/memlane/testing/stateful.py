"""All verbs in any order, against a dictionary: what no single test would have thought of."""

from __future__ import annotations

from memlane.testing._machine import MakeClient
from memlane.testing._reading_rules import ReadingRules
from memlane.testing._writing_rules import WritingRules

__all__ = ("MakeClient", "MemoryMachine", "memory_machine")


class MemoryMachine(WritingRules, ReadingRules):
    """Calls verbs of a client, predicts each answer with a `MemoryModel`, and compares."""


def memory_machine(make_client: MakeClient, *, durable: bool = False) -> type[MemoryMachine]:
    """Return a hypothesis state machine over all verbs of a client.

    Run it with `hypothesis.stateful.run_state_machine_as_test`, or give its `TestCase` to pytest.

    Args:
        make_client: Makes a client from a clock and an empty folder; it must own its backend.
        durable: Another client on the same folder finds what was stored; then clients are closed
            and opened again on the way.
    """
    parts = {"make_client": staticmethod(make_client), "durable": durable}
    machine: type[MemoryMachine] = type("MemoryMachine", (MemoryMachine,), parts)
    return machine
