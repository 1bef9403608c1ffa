"""What does a store or a retrieve cost the client, against a hand-written floor and the peers?"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.aws.arena import Arena, stage
from benchmarks.aws.environment import FLOOR, MEMLANE, OTHER_LOOP, PEERS
from benchmarks.rounds import Played, keep, spread

BARS: Final = {"memlane": 1.5, "memlane, other loop": 2.2}
DEFAULT_MS: Final = 1.5
"""What ranking may cost in the default mode, on top of 1.5 times its floor."""

PEER_BARS: Final = {
    "boto3": 4.5,
    "strands-s3-vectors-memory": 4.5,
    "aioboto3": 5.0,
    "langchain-aws": 5.0,
    "mem0": 5.0,
}
_OURS: Final = (FLOOR, MEMLANE, OTHER_LOOP)


def against_floor(played: Played, op: str) -> dict[str, Any]:
    """Return every contender's figures, ours with their bar and whether it is met."""
    found: dict[str, Any] = {
        name: {
            "cpu_ms": spread(played.figures[name]["cpu_ms"]),
            "per_s": spread(played.figures[name]["per_s"]),
        }
        for name in played.figures
    }
    for name, bar in BARS.items():
        if name not in found:
            continue
        ratio = played.ratio(name, "floor", "cpu_ms")
        found[name]["of_floor"] = ratio
        # The least disturbed round of each: what a machine that others use says best.
        least = {each: min(played.figures[each]["cpu_ms"]) for each in (name, "floor")}
        found[name]["of_floor_at_best"] = round(least[name] / least["floor"], 3)
        if op == "recall":
            pairs = zip(
                played.figures[name]["cpu_ms"], played.figures["floor"]["cpu_ms"], strict=True
            )
            over = spread([ours - bar * floor for ours, floor in pairs])
            found[name] |= {
                "ms_over_the_floors_share": over,
                "at_most": DEFAULT_MS,
                "met": over["median"] <= DEFAULT_MS,
            }
        else:
            found[name] |= {"at_most": bar, "met": ratio["median"] <= bar}
    return found


def against_peers(played: Played) -> dict[str, Any]:
    """Return the peers' figures in multiples of memlane's, and whether they are high enough."""
    found: dict[str, Any] = {}
    for name in played.figures:
        found[name] = {"cpu_ms": spread(played.figures[name]["cpu_ms"])}
        if name != "memlane":
            ratio = played.ratio(name, "memlane", "cpu_ms")
            found[name]["times_memlane"] = ratio
            if bar := PEER_BARS.get(name):
                found[name] |= {"at_least": bar, "met": ratio["median"] >= bar}
    return found


def _line(cell: str, name: str, row: dict[str, Any]) -> None:
    ratio = row.get("of_floor") or row.get("times_memlane")
    word = "of the floor" if "of_floor" in row else "times memlane"
    said = f"{ratio['median']:5.2f} {word}" if ratio else ""
    if "of_floor_at_best" in row:
        said += f" ({row['of_floor_at_best']:.2f} at best)"
    if "ms_over_the_floors_share" in row:
        said += f", {row['ms_over_the_floors_share']['median']:+.2f} ms for ranking"
    verdict = {True: "met", False: "MISSED", None: ""}[row.get("met")]
    print(f"{cell:18} {name:28} {row['cpu_ms']['median']:7.3f} ms  {said:58} {verdict}")


def main(
    *,
    rounds: int = 15,
    calls: int = 500,
    peer_rounds: int = 5,
    peer_calls: int = 200,
    peers: bool = True,
    callers: tuple[int, ...] = (10, 100),
    emulator: bool = False,
    name: str = "aws_ops",
) -> None:
    """Let all store and retrieve in turn, ours often, the peers a few times."""
    cells: dict[str, Any] = {}
    contenders = [*_OURS, *(PEERS if peers else ())]
    with (
        stage(emulator=emulator) as (server, said),
        Arena(server, contenders, said=said) as arena,
    ):
        for op in ("store", "retrieve", "recall"):
            for concurrency in callers:
                cell = f"{op}, {concurrency}"
                ours = {each.name: calls for each in _OURS}
                played = arena.play(op, ours, rounds=rounds, concurrency=concurrency)
                cells[cell] = {"against_the_floor": against_floor(played, op)}
                others = [each for each in arena.names(op) if each not in ours]
                if others:
                    sizes = {"memlane": calls} | dict.fromkeys(others, peer_calls)
                    against = arena.play(op, sizes, rounds=peer_rounds, concurrency=concurrency)
                    cells[cell]["against_the_peers"] = against_peers(against)
                for table in cells[cell].values():
                    for each, row in table.items():
                        _line(cell, each, row)
        wire, versions, failed = arena.wire, arena.versions, arena.failed
    keep(
        name,
        "client CPU in ms per call and ratios made inside each round: store; retrieve of the five "
        "nearest without over-fetch; recall is retrieve in its default mode; 10 and 100 callers",
        {
            "rounds": rounds,
            "peer_rounds": peer_rounds,
            "server": "emulator" if emulator else "canned",
            "versions": versions,
            "failed": failed,
            "requests_per_call": wire,
            "cells": cells,
        },
    )


if __name__ == "__main__":
    main()
