"""How fast is a large scope forgotten, proof and scrubbed file included?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import anyio

from benchmarks.given_vectors import BATCH, notes, open_client
from benchmarks.rounds import Progress, Stopwatch, keep, play
from memlane import MemoryClient, Scope

_OWNER: Final = Scope("ada", tenant="acme")
_OTHER: Final = Scope("bob", tenant="acme")
_UPDATED: Final = 100  # one record in so many has a version to be forgotten too


async def _fill(client: MemoryClient, records: int) -> None:
    with Progress("records stored", records) as progress:
        for at in range(0, records, BATCH):
            batch = notes(0, range(at, min(at + BATCH, records)))
            stored = await client.store_many(batch, scope=_OWNER)
            for record in stored[::_UPDATED]:
                await client.update(record.id, scope=_OWNER, text=f"{record.text}, they said")
            progress.at(at + len(batch))
    await client.store_many(notes(1, range(BATCH)), scope=_OTHER)


async def _measure(records: int, rounds: int) -> dict[str, object]:
    async def turn() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "memory.db"
            async with open_client(path) as client:
                await _fill(client, records)
                before = path.stat().st_size
                with Stopwatch() as watch:
                    receipt = await client.forget(_OWNER)
                assert (receipt.found, receipt.deleted) == (records, records)
                assert (receipt.failed, receipt.verified_empty) == ((), True)
                assert await client.count(scope=_OTHER) == BATCH
            return {
                "records_per_second": records / watch.wall,
                "records_per_cpu_second": records / watch.cpu,
                "mb_before": before / 1e6,
                "mb_after": path.stat().st_size / 1e6,
            }

    played = await play({"forget": turn}, rounds=rounds, what="rounds of forgetting")
    speed = played.median("forget", "records_per_second")
    print(f"{records:,} records forgotten at {speed:,.0f} records/s, proved, file scrubbed")
    return {
        "records": records,
        "updated_records": records // _UPDATED,
        "at_least": {"records_per_second": 20_000},
        **played.report(),
    }


def main(*, records: int = 100_000, rounds: int = 3, name: str = "forgetting") -> None:
    """Forget one user of many records, with versions, in a SQLite file that another one shares."""
    keep(
        name,
        "client.forget of one scope in a SQLite file: deleting records, versions and vectors, "
        "reading again, and scrubbing the file",
        anyio.run(_measure, records, rounds),
    )


if __name__ == "__main__":
    main()
