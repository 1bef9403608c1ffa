"""What does a tenant with credentials of its own cost, and do 1,000 callers over 200 get along?"""

from __future__ import annotations

import statistics
from typing import Any, Final

from benchmarks.aws.arena import lesson
from benchmarks.aws.environment import FLOOR, MEMLANE
from benchmarks.aws.process import ContenderProcess
from benchmarks.aws.service import LATENCY, Canned
from benchmarks.peers.environment import PeerError
from benchmarks.rounds import keep, spread

TENANTS: Final = 200
KB_EACH: Final = 10.0
CPU_MS_EACH: Final = 1.0
CALLERS: Final = 1000
RATE: Final = 900.0
TICK_P99_MS: Final = 40.0
GROWTH_KB: Final = 2048
"""What the peaks of two halves of a long run may differ by; the first has reached them by then."""

_SETTINGS: Final = {"role_arn": "arn:aws:iam::111122223333:role/memlane-tenant"}
_WARM: Final = 50
_COLUMNS: Final = (
    "per_s", "p50_ms", "p99_ms", "tick_p99_ms", "tick_worst_ms", "step_p99_ms", "cpu_ms",
)  # fmt: skip


def _teach(server: Canned) -> None:
    """Give each tenant five memories; none of that is measured."""
    server.learn(True)
    with ContenderProcess(MEMLANE, server, {**_SETTINGS, "tenants": TENANTS + _WARM}) as teacher:
        kept = teacher.run("tenant_store", n=5 * (TENANTS + _WARM), concurrency=10, first=0)
        if kept["errors"]:
            raise PeerError(kept["first_error"])
        teacher.close()
    server.learn(False)


def _first_calls(server: Canned, *, traced: bool) -> dict[str, float]:
    """Return what the first calls of 200 tenants cost in a process that knows 50 others."""
    settings = {**_SETTINGS, "tenants": TENANTS + _WARM, "traced": traced}
    with ContenderProcess(MEMLANE, server, settings) as ours:

        def run(first: int, n: int) -> dict[str, Any]:
            done = ours.run("tenant_retrieve", n=n, concurrency=10, first=first)
            if done["errors"]:
                raise PeerError(done["first_error"])
            return done

        for _ in range(4):
            warm = run(TENANTS, _WARM)
        before = ours.invoke("memory_kb") if traced else warm["rss_kb"]
        server.reset()
        server.watch(True)
        cold = run(0, TENANTS)
        counted = server.counters()
        server.watch(False)
        again = statistics.median(run(0, TENANTS)["cpu_ms"] for _ in range(3))
        settled = ours.run("nothing", n=1, concurrency=1)
        after = ours.invoke("memory_kb") if traced else settled["rss_kb"]
        ours.close()
    return {
        "kb_each": (after - before) / TENANTS,
        "first_call_cpu_ms": cold["cpu_ms"],
        "later_call_cpu_ms": again,
        "cpu_ms_each": cold["cpu_ms"] - again,
        "assume_role_each": counted["requests"].get("AssumeRole", 0) / TENANTS,
        "keys_seen": counted["signed_by"],
        "key_and_index_pairs": counted["key_index_pairs"],
        "peak_connections": counted["peak_open"],
        "get_index_each": counted["requests"].get("GetIndex", 0) / TENANTS,
    }


def _crowd(server: Canned, parts: int) -> dict[str, Any]:
    """Let 1,000 callers retrieve over 200 tenants at the injected latencies, the floor in turn.

    The floor has one tenant and one key; it says what this machine could do just then.
    """
    done: dict[str, list[dict[str, Any]]] = {"memlane": [], "floor": []}
    said = lesson(server)
    with (
        ContenderProcess(MEMLANE, server, {**_SETTINGS, "tenants": TENANTS}) as ours,
        ContenderProcess(FLOOR, server, said) as floor,
    ):
        turns = {"memlane": (ours, "tenant_retrieve"), "floor": (floor, "retrieve")}
        ours.run("tenant_retrieve", n=TENANTS, concurrency=50, first=0)
        server.slow(LATENCY)
        for process, op in turns.values():
            process.run(op, n=2 * CALLERS, concurrency=CALLERS)
        server.reset()
        for number in range(parts):
            for name in list(turns)[:: 1 if number % 2 else -1]:
                process, op = turns[name]
                part = process.run(op, n=6 * CALLERS, concurrency=CALLERS, ticker=True)
                if part["errors"]:
                    raise PeerError(f"{name}: {part['first_error']}")
                done[name].append(part)
        counted = server.counters()
        server.slow({})
        ours.close()
        floor.close()
    figures: dict[str, Any] = {
        name: {column: spread([part[column] for part in rows]) for column in _COLUMNS}
        for name, rows in done.items()
    }
    rss = [part["rss_kb"] for part in done["memlane"]]
    half = len(rss) // 2
    pairs = zip(done["memlane"], done["floor"], strict=True)
    return figures | {
        "rate_of_floor": spread([one["per_s"] / other["per_s"] for one, other in pairs]),
        "rss_kb": rss,
        "grown_kb_second_half": max(rss[half:]) - max(rss[:half]),
        "assume_role": counted["requests"].get("AssumeRole", 0),
        "peak_connections_of_both": counted["peak_open"],
    }


def main(*, rounds: int = 3, parts: int = 12, name: str = "aws_tenants") -> None:
    """Ask both."""
    with Canned() as server:
        _teach(server)
        plain = [_first_calls(server, traced=False) for _ in range(rounds)]
        traced = _first_calls(server, traced=True)
        crowd = _crowd(server, parts)
    each = {key: spread([one[key] for one in plain]) for key in plain[0]}
    ours, floor = crowd["memlane"], crowd["floor"]
    met = {
        "kb_each": traced["kb_each"] <= KB_EACH,
        "cpu_ms_each": each["cpu_ms_each"]["median"] <= CPU_MS_EACH,
        "one_assume_role_each": each["assume_role_each"]["max"] == 1.0,
        "own_key_for_each_index": each["key_and_index_pairs"]["max"] == TENANTS,
        "rate": ours["per_s"]["median"] >= RATE,
        "tick_p99": ours["tick_p99_ms"]["median"] <= TICK_P99_MS,
        "flat": crowd["grown_kb_second_half"] <= GROWTH_KB,
    }
    print(
        f"a tenant: {traced['kb_each']:.1f} KB of Python memory, RSS "
        f"{each['kb_each']['median']:.1f} KB, {each['cpu_ms_each']['median']:.2f} ms CPU, "
        f"{each['assume_role_each']['median']:g} AssumeRole, "
        f"{each['peak_connections']['max']:g} connections at most"
    )
    for who, row in (("memlane", ours), ("floor", floor)):
        print(
            f"{CALLERS} callers, {who:8} {row['per_s']['median']:.0f} retrieve/s, ticker p99 "
            f"{row['tick_p99_ms']['median']:.1f} ms (the loop's own CPU "
            f"{row['step_p99_ms']['median']:.1f})"
        )
    print(f"memory {crowd['grown_kb_second_half']:+} KB")
    print(", ".join(f"{key}: {'met' if value else 'MISSED'}" for key, value in met.items()))
    keep(
        name,
        "a tenant's first call in KB and CPU, 200 of them, 10 callers; 1,000 callers over 200 "
        "tenants at injected latency, one client, 128 connections",
        {"each": each, "python_memory": traced, "crowd": crowd, "met": met},
    )


if __name__ == "__main__":
    main()
