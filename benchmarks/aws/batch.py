"""What does a put of 500 vectors cost, and for how long does it hold the loop?"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.aws.arena import lesson
from benchmarks.aws.environment import FLOOR, MEMLANE
from benchmarks.aws.process import ContenderProcess
from benchmarks.aws.service import Canned
from benchmarks.peers.environment import PeerError
from benchmarks.rounds import keep, spread

VECTORS: Final = 500
CPU_MS: Final = 30.0
STEP_MS: Final = 25.0
_COLUMNS: Final = ("cpu_ms", "step_worst_ms", "tick_worst_ms")


def _once(process: ContenderProcess) -> dict[str, float]:
    """Put the batch twice: CPU is counted without the ticker, which has its own."""
    plain = process.run("put_batch", n=1, concurrency=1)
    ticked = process.run("put_batch", n=1, concurrency=1, ticker=True)
    if failed := plain["first_error"] or ticked["first_error"]:
        raise PeerError(failed)
    return {
        "cpu_ms": plain["cpu_ms"],
        "step_worst_ms": ticked["step_worst_ms"],
        "tick_worst_ms": ticked["tick_worst_ms"],
    }


def main(*, rounds: int = 15, name: str = "aws_batch") -> None:
    """Put the same batch again and again, and the floor one of the same size."""
    runs: dict[str, list[dict[str, float]]] = {"memlane": [], "floor": []}
    with Canned() as server:
        said = lesson(server)
        with (
            ContenderProcess(MEMLANE, server) as ours,
            ContenderProcess(FLOOR, server, said) as floor,
        ):
            ours.run("store", n=1, concurrency=1)
            processes = {"memlane": ours, "floor": floor}
            for process in processes.values():
                process.invoke("ready_batch", VECTORS)
                _once(process)
            server.reset()
            for number in range(rounds):
                for each in list(processes)[:: 1 if number % 2 else -1]:
                    runs[each].append(_once(processes[each]))
            counted = server.counters()
            ours.close()
            floor.close()
    puts = counted["requests"]["PutVectors"]
    figures: dict[str, Any] = {
        each: {column: spread([row[column] for row in rows]) for column in _COLUMNS}
        for each, rows in runs.items()
    }
    pairs = zip(runs["memlane"], runs["floor"], strict=True)
    ratio = spread([one["cpu_ms"] / other["cpu_ms"] for one, other in pairs])
    mine = figures["memlane"]
    mine |= {"of_floor": ratio, "cpu_at_most": CPU_MS, "step_at_most": STEP_MS}
    mine["met"] = mine["cpu_ms"]["median"] <= CPU_MS and mine["step_worst_ms"]["median"] <= STEP_MS
    for each, row in figures.items():
        verdict = {True: "met", False: "MISSED", None: ""}[row.get("met")]
        print(
            f"{VECTORS} vectors, {each:8} {row['cpu_ms']['median']:6.1f} ms CPU, longest step "
            f"{row['step_worst_ms']['median']:5.1f} ms of the loop's CPU, worst tick "
            f"{row['tick_worst_ms']['median']:5.1f} ms late  {verdict}"
        )
    print(f"of the floor: {ratio['median']:.2f}")
    keep(
        name,
        "CPU in ms of one upsert of 500 vectors of 1,024 dimensions on the loop that entered, the "
        "loop's own CPU in its longest step, and how late a 2 ms ticker came at worst",
        {
            "rounds": rounds,
            "requests_each": puts / (4 * rounds),
            "bytes_each": counted["received"]["PutVectors"] // puts,
            **figures,
        },
    )


if __name__ == "__main__":
    main()
