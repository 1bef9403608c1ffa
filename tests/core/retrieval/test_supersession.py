"""A newer statement of the same thing by the same owner answers; nothing else is displaced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memlane import MemoryClient, NewMemory, RetrievalOptions, Scope
from memlane.local import InMemoryBackend, MiniLMEmbedder, SqliteBackend
from memlane.testing import FakeClock
from memlane.types import Match, Source

ADA = Scope("ada", session="monday")
SPRING = datetime(2026, 3, 1, tzinfo=UTC)
MONTH = timedelta(days=31)
OFF = RetrievalOptions(supersede=False)


@pytest.fixture(params=["memory", "sqlite"])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[MemoryClient]:
    """A client with the built-in model, over each store of this machine."""
    memory = request.param == "memory"
    backend = InMemoryBackend() if memory else SqliteBackend(tmp_path / "memory.db")
    embedder = MiniLMEmbedder()
    async with MemoryClient(
        backend=backend, embedder=embedder, clock=clock, owned=[backend, embedder]
    ) as opened:
        yield opened


async def _tell(
    client: MemoryClient,
    *texts: str | tuple[str, str],
    every: timedelta = MONTH,
    sources: Sequence[Source] = (),
) -> None:
    """Store what is said, one after the other; a pair is who says it and what."""
    await client.store_many(
        [
            NewMemory(
                content=text if isinstance(text, str) else text[1],
                actor=None if isinstance(text, str) else text[0],
                occurred_at=SPRING + every * n,
                source=sources[n] if sources else "app",
            )
            for n, text in enumerate(texts)
        ],
        scope=ADA,
    )


async def _first(client: MemoryClient, question: str) -> tuple[str, str]:
    """Return what comes first with the switch off, and on."""
    off = await client.retrieve(question, scope=ADA, options=OFF)
    on = await client.retrieve(question, scope=ADA)
    assert {match.record.id for match in off} == {match.record.id for match in on}
    return off[0].record.text, on[0].record.text


async def test_a_newer_statement_takes_the_place_of_an_older_one(client: MemoryClient) -> None:
    """And both say why they are where they are, in shares of their scores."""
    await _tell(client, "I live in Porto.", "I moved to Lisbon.", "I like the sea.")
    off = await client.retrieve("Where do I live?", scope=ADA, options=OFF)
    on = await client.retrieve("Where do I live?", scope=ADA)
    before = {match.record.text: match for match in off}
    assert off[0].record.text == "I live in Porto."
    newer, older = on[:2]
    assert (newer.record.text, older.record.text) == ("I moved to Lisbon.", "I live in Porto.")
    gained = newer.score - before[newer.record.text].score
    assert newer.features["supersedes"] == pytest.approx(gained)
    assert newer.score == pytest.approx(off[0].score)
    assert older.features["superseded"] == pytest.approx(older.score - off[0].score)
    assert older.features["superseded"] < 0
    for match in on:
        assert sum(match.features.values()) == pytest.approx(match.score, abs=1e-6)
    assert not any({"supersedes", "superseded"} & set(match.features) for match in [*off, *on[2:]])


async def test_a_bare_reply_is_about_what_was_asked_before_it(client: MemoryClient) -> None:
    """Of itself it says nothing: the question before it holds what it is about."""
    code = ("Ada", "My gate code is 4412.")
    await _tell(client, code, ("Ada", "I walk the dog at eight."))
    later = SPRING + 3 * MONTH
    spoken = [("Eve", "Is your gate code still 4412?"), ("Ada", "No, it's 8830 now.")]
    await client.store_many(
        [
            NewMemory(content=text, actor=who, occurred_at=later + timedelta(seconds=20 * n))
            for n, (who, text) in enumerate(spoken)
        ],
        scope=Scope("ada", session="tuesday"),
    )
    off, on = await _first(client, "What is Ada's gate code?")
    assert (off, on) == (code[1], "No, it's 8830 now.")


async def test_the_newest_of_several_comes_first(client: MemoryClient) -> None:
    """What takes a place may itself have been replaced."""
    await _tell(client, "I live in Porto.", "I moved to Lisbon.", "Now I live in Faro, I moved.")
    assert (await _first(client, "Where do I live?"))[1] == "Now I live in Faro, I moved."


UNTOUCHED = {
    "another owner": (("Ada", "I live in Porto."), ("Eve", "I moved to Lisbon.")),
    "an idea": ("I live in Porto.", "I might live in Lisbon one day."),
    "the past": ("I live in Porto.", "As a child I lived in Lisbon."),
    "told before": ("I moved to Lisbon.", "I live in Porto."),
    "a question": ("I live in Porto.", "Do you know Lisbon, where I live?"),
    "another matter": ("I live in Porto.", "I bought a new bicycle."),
}


@pytest.mark.parametrize("texts", UNTOUCHED.values(), ids=UNTOUCHED)
async def test_what_replaces_nothing_changes_nothing(
    client: MemoryClient, texts: Sequence[str | tuple[str, str]]
) -> None:
    """Not near in meaning alone, not from somebody else, and never the older over the newer."""
    await _tell(client, *texts)
    question = "Where do I live?"
    off = await client.retrieve(question, scope=ADA, options=OFF)
    assert list(await client.retrieve(question, scope=ADA)) == list(off)


async def test_two_things_that_look_alike_stay_two(client: MemoryClient) -> None:
    """A word of the question that only the one has tells them apart."""
    await _tell(client, "The front gate opens with 4412.", "The back gate opens with 8830.")
    off, on = await _first(client, "What opens the front gate?")
    assert off == on == "The front gate opens with 4412."
    await _tell(client, "My dog is called Rex.", "My cat is called Tom.")
    assert (await _first(client, "What is my dog called?"))[1] == "My dog is called Rex."


async def test_questions_about_the_past_are_left_alone(client: MemoryClient) -> None:
    """Who asks what was does not want what is."""
    eve = Scope("eve")
    for n, text in enumerate(("My gate code is 4412.", "The gate code has been changed to 8830.")):
        await client.store(text, scope=eve, occurred_at=SPRING + n * MONTH)
    [now, *_] = await client.retrieve("What is my gate code?", scope=eve)
    assert now.record.text.endswith("8830.")
    for question in ("What was my previous gate code?", "Which code did my gate have before?"):
        off = await client.retrieve(question, scope=eve, options=OFF)
        assert off[0].record.text.endswith("4412.")
        assert list(await client.retrieve(question, scope=eve)) == list(off)


async def test_a_date_in_the_question_keeps_to_its_time(client: MemoryClient) -> None:
    """In April the first change had happened and the second had not."""
    await _tell(
        client, "I live in Porto.", "I moved to Lisbon.", "Now I have moved, I live in Faro."
    )

    async def first(question: str) -> str:
        return (await client.retrieve(question, scope=ADA))[0].record.text

    assert await first("Where do I live?") == "Now I have moved, I live in Faro."
    assert await first("As of April 2026: where do I live?") == "I moved to Lisbon."
    assert await first("As of March 2026: where do I live?") == "I live in Porto."


async def test_as_of_and_supersession_agree(client: MemoryClient) -> None:
    """What was said later is not there at all."""
    await _tell(client, "I live in Porto.", "I moved to Lisbon.")
    for days, expected in ((1, "I live in Porto."), (40, "I moved to Lisbon.")):
        options = RetrievalOptions(as_of=SPRING + timedelta(days=days))
        found = await client.retrieve("Where do I live?", scope=ADA, options=options)
        assert found[0].record.text == expected


@pytest.mark.parametrize(
    ("sources", "replaced"),
    [
        (("user", "user"), True),
        (("user", "app"), True),
        (("app", "user"), True),
        (("tool", "user"), True),
        (("user", "assistant"), False),
        (("user", "tool"), False),
        (("assistant", "import"), False),
    ],
)
async def test_the_less_trusted_replaces_nothing(
    client: MemoryClient, sources: Sequence[Source], *, replaced: bool
) -> None:
    """What a tool read somewhere does not overrule what the owner said."""
    await _tell(client, "I live in Porto.", "I moved to Lisbon.", sources=sources)
    found = await client.retrieve("Where do I live?", scope=ADA)
    assert (found[0].record.text == "I moved to Lisbon.") is replaced


async def test_other_modes_replace_nothing(client: MemoryClient) -> None:
    """They rank by one thing alone, as asked."""
    await _tell(client, "I live in Porto.", "I moved to Lisbon.")

    async def ask(options: RetrievalOptions | None) -> list[list[Match]]:
        return [
            [*await client.retrieve("where do I live", scope=ADA, mode=mode, options=options)]
            for mode in ("vector", "text")
        ]

    assert await ask(OFF) == await ask(None)


async def test_an_answer_of_one_is_the_newest(client: MemoryClient) -> None:
    """What takes a place is looked for among more than the answer holds."""
    await _tell(client, "I live in Porto.", "I moved to Lisbon.")
    [match] = await client.retrieve("Where do I live?", scope=ADA, limit=1)
    assert match.record.text == "I moved to Lisbon."


async def test_nothing_in_the_store_changes(client: MemoryClient) -> None:
    """Asking is not writing: the older statement stays as it was, and is found by what it says."""
    await _tell(client, "I live in Porto.", "I moved to Lisbon.")
    before = (await client.list(scope=ADA)).items
    await client.retrieve("Where do I live?", scope=ADA)
    assert (await client.list(scope=ADA)).items == before
    assert all(record.version == 1 and record.valid_to is None for record in before)
