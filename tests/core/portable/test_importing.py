"""What an import makes of a file: whose it becomes, what changes, and what a repetition does."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.portable.files import (
    ADA,
    BOB,
    a_file,
    a_record,
    comparable,
    everything,
    exported,
    opened,
)
from memlane import (
    ImportFileError,
    ImportReceipt,
    MemoryClient,
    NewMemory,
    RetrievalOptions,
    Scope,
    ValidationError,
)
from memlane.protocols import EmbeddingSpace, Purpose, Vector
from memlane.receipts import Redaction
from memlane.retention import Retention
from memlane.testing import FakeClock, HashingEmbedder

LONG = "She said that the train was late again. " * 40
SOME = (
    NewMemory(content="Prefers window seats", tags=["travel"], metadata={"n": {"deep": [1, None]}}),
    NewMemory(content=LONG.strip(), actor="Ada", namespace="/talk/", kind="message"),
    NewMemory(content="Lives in Lisbon", ttl=timedelta(days=1), source="tool"),
)


class Counting(HashingEmbedder):
    """Counts the texts it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def embed(self, inputs: Any, *, purpose: Purpose) -> Vector:
        self.asked += len(inputs)
        return await super().embed(inputs, purpose=purpose)


@pytest.fixture(params=["memory", "sqlite"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """A store in memory, and one in a file."""
    return None if request.param == "memory" else tmp_path / "there.db"


async def _source(client: MemoryClient) -> None:
    await client.store_many(SOME, scope=ADA)
    await client.store("For the bot", scope=replace(ADA, agent="bot", session="monday"))


@pytest.mark.parametrize("vectors", [False, True])
async def test_there_and_back(path: Path | None, vectors: bool) -> None:
    """All that was there is there, field by field, but for the id, the owner and the source."""
    async with opened() as here, opened(path) as there:
        await _source(here)
        receipt = await there.import_records(await exported(here, vectors=vectors), scope=BOB)
        before, after = await everything(here, ADA), await everything(there, BOB)
        found = await there.retrieve("where does she live?", scope=BOB, limit=1)
        late = await there.retrieve("was the train late?", scope=BOB, limit=1)
    assert receipt == ImportReceipt(imported=4, skipped=0, embedded=0 if vectors else 4)
    assert [comparable(record, scope=ADA) for record in before] == [
        comparable(record, scope=ADA) for record in after
    ]
    assert {record.source for record in after} == {"import"}
    assert {record.id for record in after}.isdisjoint(record.id for record in before)
    assert [(r.scope.agent, r.scope.session) for r in after] == [(None, None)] * 3 + [
        ("bot", "monday")
    ]
    assert found[0].record.text == "Lives in Lisbon"
    assert len(late[0].passage) < len(LONG) / 2


async def test_vectors_of_the_file_are_the_record_s(path: Path | None) -> None:
    """The same space: no model is asked, and all parts are there as they were."""
    embedder = Counting()
    async with opened() as here, opened(path, embedder=embedder) as there:
        await _source(here)
        await there.import_records(await exported(here, vectors=True), scope=BOB)
        assert embedder.asked == 0
        point = replace(BOB, agent=None)
        for record in await everything(there, BOB):
            if record.text == LONG.strip():
                [one] = await there._backend.fetch(
                    [record.id], reach=there._point(point, False, False), vectors=True
                )
                [right] = await here._embeddings.document_parts([record.text])
                assert len(one.parts) == len(right) > 3
                for part, wanted in zip(one.parts, right, strict=True):
                    assert (part.start, part.end) == (wanted.start, wanted.end)
                    assert np.allclose(part.vector, wanted.vector, atol=1e-3)
                    assert np.array_equal(part.terms, wanted.terms)


async def test_vectors_of_another_space_are_made_anew(path: Path | None) -> None:
    """Another model: its own vectors, whatever the file has."""
    async with opened() as here, opened(path, embedder=HashingEmbedder(32)) as there:
        await _source(here)
        receipt = await there.import_records(await exported(here, vectors=True), scope=BOB)
        assert receipt.embedded == 4
        assert {record.space for record in await everything(there, BOB)} == {"hashing:32"}
        assert await there.retrieve("seats", scope=BOB, limit=1)


@pytest.mark.parametrize("scope", [
    BOB,
    replace(BOB, agent="robot"),
    replace(BOB, session="evening"),
    replace(BOB, agent="robot", session="evening"),
])  # fmt: skip
async def test_the_scope_wins(path: Path | None, scope: Scope) -> None:
    """Its tenant and user always; its agent and session where it names one, else the file's."""
    async with opened() as here, opened(path) as there:
        await _source(here)
        await there.import_records(await exported(here), scope=scope)
        after = {record.text: record.scope for record in await everything(there, BOB)}
    assert after["For the bot"] == Scope(
        "bob",
        tenant="globex",
        agent=scope.agent or "bot",
        session=scope.session or "monday",
    )
    assert after["Lives in Lisbon"] == scope


async def test_a_repeated_import_changes_nothing(path: Path | None) -> None:
    """Records have the ids they had, and what their owner changed since stays changed."""
    async with opened() as here, opened(path) as there:
        await _source(here)
        lines = await exported(here)
        await there.import_records(lines, scope=BOB)
        first, second, *_ = await everything(there, BOB)
        await there.update(first.id, scope=BOB, text="changed by bob")
        await there.delete(second.id, scope=BOB)
        before = await everything(there, BOB)
        receipt = await there.import_records(lines, scope=BOB)
        after = await everything(there, BOB)
    assert receipt == ImportReceipt(imported=1, skipped=3, embedded=1)
    assert [record for record in after if record.id != second.id] == before
    assert second in after


async def test_owners_have_ids_of_their_own(path: Path | None) -> None:
    """One file for two users, and for one user twice: never one id for two records."""
    async with opened() as here, opened(path) as there:
        await _source(here)
        lines = await exported(here)
        for scope in (ADA, BOB, replace(BOB, tenant="acme")):
            await there.import_records(lines, scope=scope)
        ids = {
            user: {record.id for record in await everything(there, Scope(user, tenant=tenant))}
            for user, tenant in [("ada", "acme"), ("bob", "globex")]
        }
    assert len(ids["ada"]) == len(ids["bob"]) == 4
    assert ids["ada"].isdisjoint(ids["bob"])


async def test_two_users_records_of_one_id_are_two(path: Path | None) -> None:
    """Two exports into one scope: what was called alike by two users stays apart."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path) as there:
        await here.store("ada's", scope=ADA, record_id="profile")
        clock.advance(timedelta(microseconds=1))
        await here.store("bob's", scope=BOB, record_id="profile")
        for scope in (ADA, BOB):
            await there.import_records(await exported(here, scope), scope=Scope("carol"))
        found = {record.text for record in await everything(there, Scope("carol"))}
    assert found == {"ada's", "bob's"}


async def test_agents_of_one_id_are_two(path: Path | None) -> None:
    """One id of two agents, gathered under one agent, is two records."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path) as there:
        for agent in (None, "a", "b"):
            await here.store(f"of {agent}", scope=replace(ADA, agent=agent), record_id="profile")
        await there.import_records(await exported(here), scope=replace(BOB, agent="all"))
        assert await there.count(scope=replace(BOB, agent="all")) == 3


async def test_history_survives(path: Path | None) -> None:
    """Every kept version is there again, as what it was but for its source."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path, clock=clock) as there:
        record = await here.store("v1", scope=ADA, tags=["a"], metadata={"n": 1})
        for n in range(2, 6):
            clock.advance(timedelta(hours=1))
            await here.update(record.id, scope=ADA, text=f"v{n}" * n, metadata={"n": n})
        await there.import_records(await exported(here), scope=BOB)
        [found] = await everything(there, BOB)
        before = await here.history(record.id, scope=ADA)
        after = await there.history(found.id, scope=BOB)
        again = await there.restore(found.id, scope=BOB, version=2)
        matches = await there.retrieve("v5", scope=BOB)
    assert [comparable(one, scope=ADA) for one in before] == [
        comparable(one, scope=ADA) for one in after
    ]
    assert [one.version for one in after] == [5, 4, 3, 2, 1]
    assert {one.source for one in after} == {"import"}
    assert (again.version, again.text, again.source) == (6, "v2v2", "import")
    assert [match.record.id for match in matches] == [found.id]


async def test_versions_with_gaps_and_twins(path: Path | None) -> None:
    """Old versions were let go of, and two that raced have one number."""
    times = [f"2026-03-14T10:00:0{n}+00:00" for n in range(4)]
    [told] = [a_record(version=9, updated_at=times[3])]
    told["versions"] = [
        {
            name: value
            for name, value in a_record(version=n, text=text, updated_at=at)["record"].items()
            if name != "id"
        }
        for n, text, at in [(7, "b", times[2]), (7, "a", times[1]), (4, "old", times[0])]
    ]
    async with opened(path) as there:
        receipt = await there.import_records(a_file([told]), scope=BOB)
        [found] = await everything(there, BOB)
        history = await there.history(found.id, scope=BOB)
    assert receipt.imported == 1
    assert [(one.version, one.text) for one in history] == [
        (9, "text of a"), (7, "b"), (7, "a"), (4, "old"),
    ]  # fmt: skip


async def test_what_has_expired_is_left_out(path: Path | None) -> None:
    """An end that has passed is kept to, and counted."""
    async with opened() as here, opened(path) as there:
        await _source(here)
        lines = await exported(here)
        there._clock.advance(timedelta(days=1))  # type: ignore[attr-defined]
        receipt = await there.import_records(lines, scope=BOB)
        texts = {record.text for record in await everything(there, BOB)}
    assert (receipt.imported, receipt.skipped) == (3, 1)
    assert "Lives in Lisbon" not in texts


async def test_retention_holds(path: Path | None) -> None:
    """What is to be kept so long is kept so long from when it was stored."""
    clock = FakeClock()
    keep = Retention(namespaces={"/talk/": timedelta(days=2)})
    async with opened(clock=clock) as here, opened(path, clock=clock, retention=keep) as there:
        await _source(here)
        lines = await exported(here)
        clock.advance(timedelta(days=1, hours=12))
        await there.import_records(lines, scope=BOB)
        ends = {r.namespace: r.expires_at for r in await everything(there, BOB) if r.actor}
        clock.advance(timedelta(days=1))
        receipt = await there.import_records(lines, scope=ADA)
    assert ends == {"/talk/": FakeClock().now() + timedelta(days=2)}
    assert (receipt.imported, receipt.skipped) == (2, 2)


class Censor:
    """Takes one word out."""

    async def redact(self, text: str) -> Redaction:
        return Redaction(text=text.replace("Lisbon", "[city]"))


async def test_redaction_applies(path: Path | None) -> None:
    """To records and to what they were; the vector of what was taken out is not kept either."""
    clock, embedder = FakeClock(), Counting()
    async with (
        opened(clock=clock) as here,
        opened(path, clock=clock, redactor=Censor(), embedder=embedder) as there,
    ):
        record = await here.store("Lives in Lisbon", scope=ADA)
        await here.update(record.id, scope=ADA, text="Lives in Porto, not Lisbon")
        await here.store("Likes tea", scope=ADA)
        receipt = await there.import_records(await exported(here, vectors=True), scope=BOB)
        texts = [
            one.text
            for each in await everything(there, BOB)
            for one in await there.history(each.id, scope=BOB)
        ]
    assert texts == ["Lives in Porto, not [city]", "Lives in [city]", "Likes tea"]
    assert (receipt.embedded, embedder.asked) == (1, 1)


async def test_imported_records_are_recalled_by_their_agent(path: Path | None) -> None:
    """They lie where the others lie."""
    async with opened() as here, opened(path) as there:
        await _source(here)
        await there.import_records(await exported(here), scope=BOB)
        bot = replace(BOB, agent="bot")
        assert [m.record.text for m in await there.retrieve("bot", scope=bot)] == ["For the bot"]
        wide = RetrievalOptions(include_agents=True)
        assert len(await there.retrieve("bot", scope=BOB, options=wide)) == 4


async def test_more_pages_than_one_batch(path: Path | None) -> None:
    """Over a thousand records, with an embedder that takes few at a time."""
    async with opened() as here, opened(path) as there:
        await here.store_many([NewMemory(content=f"note {n}") for n in range(1_100)], scope=ADA)
        receipt = await there.import_records(await exported(here), scope=BOB)
        texts = [record.text for record in await everything(there, BOB)]
    assert receipt.imported == 1_100
    assert texts == [f"note {n}" for n in range(1_100)]


def test_the_space_of_a_hashing_embedder_is_that_of_the_files() -> None:
    """What the files of these tests name."""
    assert HashingEmbedder().space == EmbeddingSpace(model="hashing", dimensions=64)
    assert json.loads(a_file()[0])["space"] == HashingEmbedder().space.id
    assert issubclass(ImportFileError, ValidationError)
