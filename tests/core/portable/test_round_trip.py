"""Any records, out of one backend and into another: equal but for id, scope and source."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.portable.files import ADA, BOB, comparable, everything, exported, opened
from faults.aws.clouds import BUCKET, Cloud
from memlane import MemoryClient, MemoryRecord, NewMemory, Scope
from memlane.testing import FakeClock
from memlane.testing.emulator import Emulator

_LETTERS = st.characters(codec="utf-8")
_NAMES = st.text("abc/ \u00e9\U0001f4ba", min_size=1, max_size=4).filter(str.strip)
_TEXTS = st.text(_LETTERS, min_size=1, max_size=900).filter(str.strip)
_NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(_LETTERS, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(_LETTERS, max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
_NOW = FakeClock().now()
_TIMES = st.timedeltas(timedelta(days=-13_000), timedelta(days=8_000)).map(lambda by: _NOW + by)
_PAST = st.timedeltas(timedelta(days=-13_000), timedelta()).map(lambda by: _NOW + by)
_LATER = st.timedeltas(timedelta(microseconds=1), timedelta(days=9_000)).map(lambda by: _NOW + by)
# A record is stored and then updated, a microsecond later each time: it must live that long.
_ENDS = st.timedeltas(timedelta(seconds=1), timedelta(days=9_000)).map(lambda by: _NOW + by)
_NEWS = st.builds(
    NewMemory,
    content=_TEXTS,
    namespace=st.lists(_NAMES.map(lambda name: name.replace("/", "-")), max_size=2).map(
        lambda parts: "/" + "".join(f"{part}/" for part in parts)
    ),
    kind=st.sampled_from(["fact", "message", "x.y-z_1"]),
    metadata=st.dictionaries(st.text("kn\u00e9 ", min_size=1, max_size=3), _JSON, max_size=4),
    tags=st.lists(st.text("ab\u00e9", min_size=1, max_size=3), max_size=3),
    actor=st.none() | _NAMES,
    occurred_at=st.none() | _TIMES,
    expires_at=st.none() | _ENDS,
    source=st.sampled_from(["app", "user", "assistant", "tool", "import"]),
    valid_from=st.none() | _PAST,
    valid_to=st.none() | _LATER,
)
_AGENTS = st.none() | st.sampled_from(["a", "b/c"])
_STORED = st.lists(
    st.tuples(_AGENTS, st.none() | _NAMES, _NEWS, st.lists(_TEXTS, max_size=3)), max_size=5
)
_SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


async def _fill(client: MemoryClient, clock: FakeClock, stored: list[Any]) -> None:
    for agent, session, new, texts in stored:
        scope = Scope("ada", tenant="acme", agent=agent, session=session)
        [record] = await client.store_many([new], scope=scope)
        for text in texts:
            clock.advance(timedelta(microseconds=1))
            await client.update(record.id, scope=scope, text=text)


async def _compare(here: MemoryClient, there: MemoryClient, whose: Scope) -> None:
    before, after = await everything(here, ADA), await everything(there, whose)

    def order(record: MemoryRecord) -> str:
        return repr((record.scope.agent, comparable(record, scope=ADA)))

    before, after = sorted(before, key=order), sorted(after, key=order)
    assert [comparable(r, scope=ADA) for r in before] == [comparable(r, scope=ADA) for r in after]
    for old, new in zip(before, after, strict=True):
        assert (old.scope.agent, old.scope.session) == (new.scope.agent, new.scope.session)
        assert (new.scope.user, new.scope.tenant) == (whose.user, whose.tenant)
        assert repr(dict(old.metadata)) == repr(dict(new.metadata))  # 1 is not 1.0, nor True
        was = await here.history(old.id, scope=old.scope)
        then = await there.history(new.id, scope=new.scope)
        assert [comparable(r, scope=ADA) for r in was] == [comparable(r, scope=ADA) for r in then]
        assert {one.source for one in then} == {"import"}


@settings(deadline=None, max_examples=40, suppress_health_check=_SLOW)
@given(stored=_STORED, vectors=st.booleans(), from_file=st.booleans())
def test_any_records(stored: list[Any], vectors: bool, from_file: bool) -> None:
    """From memory into a file and from a file into memory, with vectors and without."""

    async def round_trip() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path, clock = Path(folder) / "memory.db", FakeClock()
            async with (
                opened(path if from_file else None, clock=clock) as here,
                opened(None if from_file else path, clock=clock) as there,
            ):
                await _fill(here, clock, stored)
                lines = await exported(here, vectors=vectors)
                receipt = await there.import_records(lines, scope=BOB)
                assert receipt.imported == len(stored)
                await _compare(here, there, BOB)
                again = await there.import_records(lines, scope=BOB)
                assert (again.imported, again.skipped) == (0, len(stored))

    anyio.run(round_trip)


@asynccontextmanager
async def _in_the_cloud(emulator: Emulator) -> AsyncIterator[MemoryClient]:
    async with Cloud(emulator).client() as client:
        yield client


async def test_to_the_cloud_and_back(emulator: Emulator, tmp_path: Path) -> None:
    """From a file into S3 Vectors, and from there into another file."""
    await emulator.create_bucket(BUCKET)
    clock = FakeClock(datetime.now(UTC))
    long = "She said that the train was late again. " * 40
    stored: list[Any] = [
        ("bot", "monday", NewMemory(content="first", metadata={"n": {"x": [1, 2.5]}}), ["second"]),
        (None, None, NewMemory(content=long.strip(), tags=["a"], actor="Ada"), []),
        (None, None, NewMemory(content="for a while", ttl=timedelta(days=1)), ["b", "c"]),
    ]
    cloudy = Scope("carol", tenant="initech")
    async with (
        opened(tmp_path / "here.db", clock=clock) as here,
        _in_the_cloud(emulator) as cloud,
        opened(tmp_path / "there.db", clock=clock) as there,
    ):
        await _fill(here, clock, stored)
        lines = await exported(here)
        assert (await cloud.import_records(lines, scope=cloudy)).imported == 3
        again = await cloud.import_records(lines, scope=cloudy)
        assert (again.imported, again.skipped) == (0, 3)
        await _compare(here, cloud, cloudy)
        found = await cloud.retrieve("second", scope=Scope("carol", tenant="initech", agent="bot"))
        assert [match.record.text for match in found] == ["second"]
        back = await exported(cloud, cloudy, vectors=True)
        receipt = await there.import_records(back, scope=BOB)
        assert (receipt.imported, receipt.embedded) == (3, 0)
        await _compare(here, there, BOB)
