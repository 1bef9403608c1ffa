"""All verbs in any order, against a dictionary: what no single test would have thought of."""

from __future__ import annotations

from memlane.testing._faulty_life_rules import FaultyLifeRules
from memlane.testing._faulty_machine import MakeBackend
from memlane.testing._faulty_rules import FaultyRules
from memlane.testing._life_rules import LifeRules
from memlane.testing._machine import MakeClient

__all__ = (
    "FaultyMemoryMachine",
    "MakeBackend",
    "MakeClient",
    "MemoryMachine",
    "faulty_memory_machine",
    "memory_machine",
)


class MemoryMachine(LifeRules):
    """Calls verbs of a client, predicts each answer with a `MemoryModel`, and compares."""


class FaultyMemoryMachine(FaultyRules, FaultyLifeRules):
    """Does the same, and lets calls of the backend and the embedder fail on the way."""


def memory_machine(
    make_client: MakeClient, *, durable: bool = False, moving: bool = True
) -> type[MemoryMachine]:
    """Return a hypothesis state machine over all verbs of a client.

    Run it with `hypothesis.stateful.run_state_machine_as_test`, or give its `TestCase` to pytest.

    Args:
        make_client: Makes a client from a clock and an empty folder; it must own its backend.
        durable: Another client on the same folder finds what was stored; then clients are closed
            and opened again on the way.
        moving: Tenants can be taken to other embedding spaces, if the backend has the verbs for it;
            else it must say that they cannot.
    """
    parts = {"make_client": staticmethod(make_client), "durable": durable, "moving": moving}
    machine: type[MemoryMachine] = type("MemoryMachine", (MemoryMachine,), parts)
    return machine


def faulty_memory_machine(
    make_backend: MakeBackend, *, durable: bool = False, moving: bool = True
) -> type[FaultyMemoryMachine]:
    """Return a hypothesis state machine over all verbs, some of which meet a `Fault`.

    A call that failed may have left each record it was about as it was or as it should have been,
    and nothing in between; what was acknowledged stays, others notice nothing, the caller is told
    what happened by an error of memlane's, and the next call works.

    Args:
        make_backend: Makes a backend from an empty folder; the machine puts a client over it.
        durable: Another backend on the same folder finds what was stored; then clients are
            closed, or left as they are, and opened again on the way.
        moving: As in `memory_machine`.
    """
    parts = {"make_backend": staticmethod(make_backend), "durable": durable, "moving": moving}
    machine: type[FaultyMemoryMachine] = type("FaultyMemoryMachine", (FaultyMemoryMachine,), parts)
    return machine
