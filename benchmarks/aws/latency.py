"""How near to the services' own latency does the client stay, with callers and with batches?"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.aws.arena import Arena
from benchmarks.aws.environment import FLOOR, MEMLANE, OTHER_LOOP, PEERS
from benchmarks.aws.service import LATENCY, Canned
from benchmarks.rounds import Played, keep, spread

IDEAL_MS: Final = {
    "store": 1000 * (LATENCY["InvokeModel"] + LATENCY["PutVectors"]),
    "retrieve": 1000 * (LATENCY["InvokeModel"] + LATENCY["QueryVectors"]),
}
SHARE: Final = 0.85
P50: Final = 1.15
MODELS: Final = {
    "amazon.titan-embed-text-v2:0": 260.0,
    "cohere.embed-english-v3": 150.0,
}
"""Milliseconds that storing 96 texts may take, by model."""

_OURS: Final = (FLOOR, MEMLANE, OTHER_LOOP)


def _row(played: Played, name: str) -> dict[str, Any]:
    figures = played.figures[name]
    row: dict[str, Any] = {
        each: spread(figures[each]) for each in ("per_s", "p50_ms", "p99_ms", "cpu_ms")
    }
    if name != "floor":
        row["rate_of_floor"] = played.ratio(name, "floor", "per_s")
    return row


def _many(model: str, bar: float, *, rounds: int, peers: bool) -> dict[str, Any]:
    """Return what storing 96 texts with a model takes."""
    langchain = [each for each in PEERS if "store_many" in each.operations] if peers else []
    settings = {"model": model}
    with Canned() as server, Arena(server, [*_OURS, *langchain], settings=settings) as arena:
        server.slow(LATENCY)
        names = arena.names("store_many")
        sizes = dict.fromkeys(names, 1)
        played = arena.play("store_many", sizes, rounds=rounds, concurrency=1)
        wire = arena.wire
    table: dict[str, Any] = {}
    for name in names:
        figures = played.figures[name]
        row: dict[str, Any] = {
            "ms": spread(figures["p50_ms"]),
            "cpu_ms": spread(figures["cpu_ms"]),
        }
        took = row["ms"]["median"]
        if name.startswith("memlane"):
            row |= {"at_most": bar, "met": took <= bar}
        verdict = {True: "met", False: "MISSED", None: ""}[row.get("met")]
        print(f"96 texts, {model:30} {name:22} {took:8.1f} ms  {verdict}")
        table[name] = row
    return table | {"requests": wire}


def main(*, rounds: int = 7, peers: bool = True, name: str = "aws_latency") -> None:
    """Let all wait for slow services."""
    cells: dict[str, Any] = {}
    with Canned() as server, Arena(server, [*_OURS, *(PEERS if peers else ())]) as arena:
        server.slow(LATENCY)
        for op, ideal in IDEAL_MS.items():
            for concurrency, calls in ((10, 100), (100, 1000)):
                sizes = dict.fromkeys(arena.names(op), calls)
                played = arena.play(op, sizes, rounds=rounds, concurrency=concurrency)
                table = {each: _row(played, each) for each in sizes}
                for each, row in table.items():
                    verdict = ""
                    if each.startswith("memlane"):
                        if concurrency == 10:
                            bar, value = P50 * ideal, row["p50_ms"]["median"]
                            row |= {"p50_at_most": bar, "met": value <= bar}
                        else:
                            value = row["rate_of_floor"]["median"]
                            row |= {"rate_at_least": SHARE, "met": value >= SHARE}
                        verdict = "met" if row["met"] else "MISSED"
                    print(
                        f"{op}, {concurrency:3} callers  {each:26} "
                        f"{row['per_s']['median']:7.0f}/s  p50 {row['p50_ms']['median']:7.1f}  "
                        f"p99 {row['p99_ms']['median']:7.1f} ms  {verdict}"
                    )
                cells[f"{op}, {concurrency}"] = {"ideal_p50_ms": ideal, **table}
        server.slow({})
        versions, failed = arena.versions, arena.failed
    batches = {
        model: _many(model, bar, rounds=rounds, peers=peers) for model, bar in MODELS.items()
    }
    keep(
        name,
        "calls a second and their time when a query takes 80, a put 60 and an embedding 40 ms, "
        "10 and 100 callers; ms to store 96 texts",
        {
            "latency_s": LATENCY,
            "rounds": rounds,
            "versions": versions,
            "failed": failed,
            "cells": cells,
            "store_many_of_96": batches,
        },
    )


if __name__ == "__main__":
    main()
