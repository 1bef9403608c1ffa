"""An export of what was imported before: what goes on, and what its owner has changed and keeps."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.portable.files import ADA, BOB, a_file, a_record, everything, exported, opened
from memlane import ImportReceipt, MemoryClient, MemoryRecord
from memlane.local import InMemoryBackend
from memlane.receipts import Redaction
from memlane.testing import FakeClock, HashingEmbedder

HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "sqlite"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """A store in memory, and one in a file."""
    return None if request.param == "memory" else tmp_path / "there.db"


class Censor:
    """Takes one word out."""

    async def redact(self, text: str) -> Redaction:
        return Redaction(text=text.replace("Lisbon", "[city]"))


async def _texts(client: MemoryClient) -> list[str]:
    [now] = await everything(client, BOB)
    return [one.text for one in await client.history(now.id, scope=BOB)]


async def _imported(here: MemoryClient, there: MemoryClient) -> tuple[int, int]:
    receipt = await there.import_records(await exported(here), scope=BOB)
    return receipt.imported, receipt.skipped


def _bare(lines: list[str]) -> list[str]:
    """Return a file of one page without the versions, as another program might write it."""
    head, record, behind, end = lines
    told = json.loads(record)
    del told["versions"]
    record = json.dumps(told) + "\n"
    page = json.loads(behind) | {"sha256": hashlib.sha256((head + record).encode()).hexdigest()}
    return [head, record, json.dumps(page) + "\n", end]


async def test_a_later_export_brings_its_versions(path: Path | None) -> None:
    """What is there as the file once had it goes on to what the file has now."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path, clock=clock) as there:
        record = await here.store("v1", scope=ADA)
        await there.import_records(await exported(here), scope=BOB)
        for n in (2, 3):
            clock.advance(HOUR)
            await here.update(record.id, scope=ADA, text=f"v{n}")
        receipt = await there.import_records(await exported(here), scope=BOB)
        assert receipt == ImportReceipt(imported=1, skipped=0, embedded=1)
        assert await _texts(there) == ["v3", "v2", "v1"]


async def test_it_goes_on_from_what_was_redacted(path: Path | None) -> None:
    """What is there says what a redactor has left of the file: it is the import's all the same."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path, clock=clock, redactor=Censor()) as there:
        record = await here.store("Lives in Lisbon", scope=ADA)
        await there.import_records(await exported(here), scope=BOB)
        clock.advance(HOUR)
        await here.update(record.id, scope=ADA, text="Left Lisbon")
        assert await _imported(here, there) == (1, 0)
        assert await _texts(there) == ["Left [city]", "Lives in [city]"]
        assert await _imported(here, there) == (0, 1)


async def test_a_backend_without_history_goes_on() -> None:
    """Where no versions are kept, the last one takes the place of the one that was imported."""

    class Forgetful(InMemoryBackend):
        versions: Any = None

    clock, backend = FakeClock(), Forgetful()
    async with (
        opened(clock=clock) as here,
        MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock) as there,
    ):
        record = await here.store("v1", scope=ADA)
        assert await _imported(here, there) == (1, 0)
        for n in (2, 3):
            clock.advance(HOUR)
            await here.update(record.id, scope=ADA, text=f"v{n}")
        assert await _imported(here, there) == (1, 0)
        [now] = await everything(there, BOB)
        assert (now.text, now.version) == ("v3", 3)
        assert await _imported(here, there) == (0, 1)
        await there.update(now.id, scope=BOB, text="mine")
        await here.update(record.id, scope=ADA, text="v4")
        await here.update(record.id, scope=ADA, text="v5")
        assert await _imported(here, there) == (0, 1)


@pytest.mark.parametrize("updates", [2, 108])
@pytest.mark.parametrize("bare", [False, True])
async def test_what_its_owner_changed_stays(path: Path | None, updates: int, bare: bool) -> None:
    """However far the file has come since, and whatever it still says of what was."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path, clock=clock) as there:
        record = await here.store("text 1", scope=ADA)
        await there.import_records(await exported(here), scope=BOB)
        [mine] = await everything(there, BOB)
        clock.advance(HOUR)
        mine = await there.update(mine.id, scope=BOB, text="bob says otherwise")
        clock.advance(HOUR)
        for n in range(updates):
            await here.update(record.id, scope=ADA, text=f"text {n + 2}")
        lines = await exported(here)
        receipt = await there.import_records(_bare(lines) if bare else lines, scope=BOB)
        assert (receipt.imported, receipt.skipped) == (0, 1)
        assert await everything(there, BOB) == [mine]
        assert await _texts(there) == ["bob says otherwise", "text 1"]


@pytest.mark.parametrize("redactor", [None, Censor()])
async def test_a_change_of_the_same_moment_is_a_change(
    path: Path | None, redactor: Censor | None
) -> None:
    """Where a clock is coarse, number and time may agree; the words tell."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path, clock=clock, redactor=redactor) as there:
        record = await here.store("v1", scope=ADA)
        await there.import_records(await exported(here), scope=BOB)
        clock.advance(HOUR)
        [mine] = await everything(there, BOB)
        await there.update(mine.id, scope=BOB, text="bob's v2")
        await here.update(record.id, scope=ADA, text="ada's v2")
        clock.advance(HOUR)
        await here.update(record.id, scope=ADA, text="ada's v3")
        assert await _imported(here, there) == (0, 1)
        assert await _texts(there) == ["bob's v2", "v1"]


async def test_a_file_that_does_not_know_what_is_there(path: Path | None) -> None:
    """Nothing tells whether what is there is still the import's: it is left."""
    async with opened(path) as there:
        assert (await there.import_records(a_file([a_record()]), scope=BOB)).imported == 1
        later = a_file([a_record(version=3, text="later")])
        assert (await there.import_records(later, scope=BOB)).skipped == 1
        assert await _texts(there) == ["text of a"]


async def test_the_owner_changes_it_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading what is there and writing behind it: what was changed stays."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(clock=clock) as there:
        record = await here.store("v1", scope=ADA)
        await there.import_records(await exported(here), scope=BOB)
        clock.advance(HOUR)
        await here.update(record.id, scope=ADA, text="v2")
        [mine] = await everything(there, BOB)
        backend: Any = there._backend
        right, changed = backend.upsert, list[MemoryRecord]()

        async def upsert(*args: Any, **options: Any) -> None:
            if not changed:
                changed.append(mine)
                await there.update(mine.id, scope=BOB, text="just now")
            await right(*args, **options)

        monkeypatch.setattr(backend, "upsert", upsert)
        assert await _imported(here, there) == (0, 1)
        assert await _texts(there) == ["just now", "v1"]


async def test_a_change_that_leaves_the_words(path: Path | None) -> None:
    """The number and the words are those of the file; when it was changed is not."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path, clock=clock) as there:
        record = await here.store("tea", scope=ADA)
        await there.import_records(await exported(here), scope=BOB)
        [mine] = await everything(there, BOB)
        clock.advance(HOUR)
        mine = await there.update(mine.id, scope=BOB, tags=["mine"])
        for tag in ("a", "b"):
            clock.advance(HOUR)
            await here.update(record.id, scope=ADA, tags=[tag])
        assert await _imported(here, there) == (0, 1)
        assert await everything(there, BOB) == [mine]
