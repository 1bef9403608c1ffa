"""What does the first retrieve of a fresh process cost, against a bare script's two calls?"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from benchmarks.aws.arena import lesson
from benchmarks.aws.environment import MEMLANE, prepared, variables
from benchmarks.aws.service import Canned
from benchmarks.rounds import keep, play, spread

TIMES: Final = 1.25
_ENVIRONMENT: Final = "memlane-aws"

_BARE: Final = """
import asyncio, json, sys
import numpy, aiohttp, orjson, anyio
from benchmarks.aws.clients.floor import Floor

async def main():
    floor = Floor(json.loads(sys.argv[1]))
    assert await floor.retrieve(1) == 5
    await floor.close()

asyncio.run(main())
"""
_OURS: Final = """
import asyncio, json, os, sys
from memlane import RetrievalOptions, Scope
from memlane.aws.credentials import StaticCredentials
from memlane_plain import connect

async def main():
    told = json.loads(sys.argv[1])
    key, secret = told["access_key"], told["secret_key"]
    url = "s3vectors://" + told["bucket"]
    async with connect(url, credentials=StaticCredentials(key, secret)) as client:
        found = await client.retrieve(
            "Which seat did the guest ask for?", scope=Scope("ada", tenant="acme"), limit=5,
            mode="vector", options=RetrievalOptions(candidates=5),
        )
        assert len(found) == 5

asyncio.run(main())
if "AWS_PROFILE" not in os.environ:
    assert not any(name.startswith("botocore") for name in sys.modules)
"""
_IMPORTS: Final = {
    "import of numpy, aiohttp, orjson, anyio": "import numpy, aiohttp, orjson, anyio",
    "import of memlane": "from memlane_plain import connect",
}


def _cpu(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Run a program to its end and return its CPU, the start of the interpreter included."""
    with tempfile.TemporaryFile() as complaints:
        started = subprocess.Popen(command, env=dict(environment), stderr=complaints)
        _, status, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        if started.returncode:
            complaints.seek(0)
            raise RuntimeError(complaints.read().decode()[-600:])
    return {"cpu_ms": 1000 * (used.ru_utime + used.ru_stime), "rss_kb": used.ru_maxrss}


def _profile(home: Path, server: Canned) -> dict[str, str]:
    """Write a profile and return what of the environment names it."""
    file = home / "credentials"
    file.write_text(
        f"[bench]\naws_access_key_id = {server.access_key}\n"
        f"aws_secret_access_key = {server.secret_key}\n"
    )
    return {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "bench"}


def main(*, rounds: int = 15, name: str = "aws_cold") -> None:
    """Start each in turn, again and again."""
    with Canned() as server, tempfile.TemporaryDirectory() as folder:
        said = lesson(server) | server.settings
        python = str(prepared(_ENVIRONMENT))
        home = Path(folder)
        keys = variables(server.exports, home)
        by_profile = {
            key: value
            for key, value in (keys | _profile(home, server)).items()
            if key not in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        }
        told = json.dumps(said)
        runs: dict[str, tuple[list[str], Mapping[str, str]]] = {
            "bare script": ([python, "-c", _BARE, told], keys),
            "memlane, keys": ([python, "-c", _OURS, told], keys),
            "memlane, profile": ([python, "-c", _OURS, told], by_profile),
            **{each: ([python, "-c", code], keys) for each, code in _IMPORTS.items()},
        }
        contenders = {each: partial(_cpu, *how) for each, how in runs.items()}
        played = anyio.run(partial(play, contenders, rounds=rounds, warm_up=True, what=name))
    table: dict[str, Any] = {
        each: {key: spread(figures[key]) for key in ("cpu_ms", "rss_kb")}
        for each, figures in played.figures.items()
    }
    ratio = played.ratio("memlane, keys", "bare script", "cpu_ms")
    table["memlane, keys"] |= {
        "of_bare": ratio,
        "at_most": TIMES,
        "met": ratio["median"] <= TIMES,
    }
    table["memlane, profile"]["of_bare"] = played.ratio("memlane, profile", "bare script", "cpu_ms")
    for each, row in table.items():
        share = f"{row['of_bare']['median']:.2f} of the bare script" if "of_bare" in row else ""
        verdict = {True: "met", False: "MISSED", None: ""}[row.get("met")]
        print(f"{each:42} {row['cpu_ms']['median']:7.0f} ms CPU  {share}  {verdict}")
    keep(
        name,
        "CPU in ms of a whole process that imports, connects and makes its first retrieve of the "
        "five nearest, against one that imports numpy, aiohttp, orjson and anyio and makes the "
        "same two calls by hand; with keys, botocore is never imported; with a profile it is",
        {"rounds": rounds, "lock": _ENVIRONMENT, "bucket_of": MEMLANE.name, "processes": table},
    )


if __name__ == "__main__":
    main()
