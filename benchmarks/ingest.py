"""How fast are messages stored with the local model, and in how much memory?"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import anyio

from benchmarks.rounds import Stopwatch, keep, play
from memlane import MemoryClient, NewMemory, Scope
from memlane_plain import connect

RECORDS: Final = 3_000
_TOKENIZER: Final = Path(__file__).parents[1] / "core/memlane/local/model/tokenizer.json"
_PEAK: Final = "VmHWM:"

_Texts: TypeAlias = dict[str, list[str]]  # by user


def _peak_mb() -> float:
    """Return the most memory this process ever had, in units of 1,000,000 bytes.

    `ru_maxrss` of a process on Linux begins with what its parent had: the kernel counts the
    moment between fork and exec too. What it has under VmHWM begins with exec.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(_PEAK)) * 1024 / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


async def _store(client: MemoryClient, texts: _Texts) -> dict[str, float]:
    async with client:
        with Stopwatch() as start:
            await client.store("the first text loads the model", scope=Scope("nobody"))
        with Stopwatch() as watch:
            for user, own in texts.items():
                items = [NewMemory(content=text) for text in own]
                await client.store_many(items, scope=Scope(user, tenant="acme"))
    stored = sum(map(len, texts.values()))
    return {
        "records_per_cpu_second": stored / watch.cpu,
        "records_per_second": stored / watch.wall,
        "first_store_cpu_s": start.cpu,
        "peak_mb": _peak_mb(),
    }


def store(texts: str, store_file: str) -> None:
    """Store the texts of a JSON file and print what it took; the work of a fresh process."""
    read = cast("_Texts", json.loads(Path(texts).read_bytes()))
    print(json.dumps(anyio.run(_store, connect(f"sqlite:///{store_file}"), read)))


def _messages(records: int) -> _Texts:
    # Here, so that the process that is measured does not carry the corpus.
    from benchmarks.corpus import TUNING, generate  # noqa: PLC0415

    by_user: _Texts = defaultdict(list)
    said = [one for one in generate(TUNING[0]).said if len(one.text) <= 400][:records]
    assert len(said) == records
    for one in said:
        by_user[one.user].append(one.text)
    return by_user


def _lengths(texts: _Texts) -> dict[str, object]:
    import tokenizers  # noqa: PLC0415  (not in the process that is measured before it needs it)

    tokenizer = cast("Any", tokenizers).Tokenizer.from_file(str(_TOKENIZER))
    tokenizer.no_padding()
    said = [text for own in texts.values() for text in own]
    return {
        "records": len(said),
        "users": len(texts),
        "characters_per_record": round(statistics.mean(map(len, said)), 1),
        "tokens_per_record": round(
            statistics.mean(len(tokenizer.encode(text).ids) for text in said), 1
        ),
    }


def main(*, records: int = RECORDS, rounds: int = 3, name: str = "ingest") -> None:
    """Store the same messages in a fresh process and a new file each time."""
    texts = _messages(records)
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "texts.json"
        given.write_text(json.dumps(texts))
        paths = iter(range(rounds))

        def fresh() -> dict[str, float]:
            file = Path(folder) / f"{next(paths)}.db"
            command = [sys.executable, "-m", "benchmarks.ingest", str(given), str(file)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return cast("dict[str, float]", json.loads(done.stdout))

        async def measure() -> dict[str, object]:
            played = await play({"store_many": fresh}, rounds=rounds, children=True, what="stores")
            print(
                f"{played.median('store_many', 'records_per_cpu_second'):,.0f} records per "
                f"CPU-second, peak {played.median('store_many', 'peak_mb'):.0f} MB"
            )
            return played.report()

        report = anyio.run(measure)
    keep(
        name,
        "store_many of short messages of the generated corpus with the local model into a new "
        "SQLite file, in a fresh process: records per CPU-second once the model is loaded, and "
        "the peak memory of the process (MB of 1,000,000 bytes)",
        {
            **_lengths(texts),
            "at_least": {"records_per_cpu_second": 250},
            "at_most": {"peak_mb": 250},
            **report,
        },
    )


if __name__ == "__main__":
    store(sys.argv[1], sys.argv[2])
