"""What becomes of 32 callers when the service refuses a third of the requests, or all?"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.aws.environment import MEMLANE
from benchmarks.aws.process import ContenderProcess
from benchmarks.aws.service import LATENCY, Canned
from benchmarks.rounds import keep, spread

CALLERS: Final = 32
RATIO: Final = 1.6
PROBES_A_SECOND: Final = 1.0
DEADLINE: Final = 10.0
_HOT: Final = {"store": "PutVectors", "retrieve": "QueryVectors"}


def _third(server: Canned, op: str, calls: int) -> dict[str, Any]:
    """Let 32 callers work against 30 % refusals; each call has ten seconds."""
    hot = _HOT[op]
    with ContenderProcess(MEMLANE, server, {"deadline": DEADLINE}) as ours:
        ours.run(op, n=CALLERS, concurrency=CALLERS)
        server.slow(LATENCY)
        server.reset()
        clear = ours.run(f"patient_{op}", n=calls, concurrency=CALLERS)
        wanted = server.counters()["requests"][hot]
        server.throttle({hot: 0.3})
        server.reset()
        done = ours.run(f"patient_{op}", n=calls, concurrency=CALLERS)
        counted = server.counters()
        server.throttle({})
        server.slow({})
        ours.close()
    sent, refused = counted["requests"][hot], counted["throttled"][hot]
    return {
        "errors": done["errors"],
        "first_error": done["first_error"],
        "requests": sent,
        # Puts are gathered, so what is wanted is what succeeded, and not a number of calls.
        "ratio": sent / (sent - refused),
        "per_s": done["per_s"],
        "per_s_without_refusals": clear["per_s"],
        "requests_without_refusals": wanted,
        "p50_ms": done["p50_ms"],
        "p99_ms": done["p99_ms"],
        "max_ms": done["max_ms"],
    }


def _all(server: Canned, seconds: float) -> dict[str, Any]:
    """Refuse everything for a while; count what is still sent, and how soon it recovers."""
    settings = {"deadline": DEADLINE}
    with ContenderProcess(MEMLANE, server, settings) as ours:
        ours.run("retrieve", n=CALLERS, concurrency=CALLERS)
        server.throttle({"QueryVectors": 1.0})
        ours.invoke("hold_out", CALLERS, 5.0)
        server.reset()
        ours.invoke("hold_out", CALLERS, seconds)
        sent = server.counters()["requests"].get("QueryVectors", 0)
        server.throttle({})
        server.reset()
        after = ours.run("patient_retrieve", n=10 * CALLERS, concurrency=CALLERS)
        ours.close()
    return {
        "seconds": seconds,
        "requests_a_second": sent / seconds,
        "afterwards": {key: after[key] for key in ("errors", "wall_s", "per_s", "max_ms")},
    }


def main(
    *, rounds: int = 3, calls: int = 640, seconds: float = 20.0, name: str = "aws_throttled"
) -> None:
    """Refuse 30 %, then everything."""
    with Canned() as server:
        server.learn(True)
        with ContenderProcess(MEMLANE, server) as teacher:
            teacher.run("store", n=20, concurrency=1)
            teacher.close()
        server.learn(False)
        third: dict[str, Any] = {}
        for op in _HOT:
            runs = [_third(server, op, calls) for _ in range(rounds)]
            third[op] = {
                key: spread([run[key] for run in runs])
                for key in runs[0]
                if isinstance(runs[0][key], int | float)
            }
            third[op]["first_error"] = next((r["first_error"] for r in runs if r["errors"]), None)
            third[op] |= {"at_most": RATIO}
            third[op]["met"] = not third[op]["errors"]["max"] and (
                third[op]["ratio"]["median"] <= RATIO
            )
            print(
                f"{op}, 30 % refused: {third[op]['errors']['max']:g} errors, "
                f"{third[op]['ratio']['median']:.2f} requests for one, "
                f"{third[op]['per_s']['median']:.0f}/s of "
                f"{third[op]['per_s_without_refusals']['median']:.0f}, "
                f"p99 {third[op]['p99_ms']['median']:.0f} ms: "
                + ("met" if third[op]["met"] else "MISSED")
            )
        everything = _all(server, seconds)
        everything["met"] = everything["requests_a_second"] <= PROBES_A_SECOND
        print(
            f"all refused: {everything['requests_a_second']:.2f} requests a second from "
            f"{CALLERS} callers; afterwards {everything['afterwards']}: "
            + ("met" if everything["met"] else "MISSED")
        )
    keep(
        name,
        "32 callers with ten seconds a call while 30 % of puts or queries are refused with 429, at "
        "injected latency; then while all queries are",
        {"third": third, "everything": everything},
    )


if __name__ == "__main__":
    main()
