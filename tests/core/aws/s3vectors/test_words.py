"""By words alone: whole texts are read, and their windows count as they do elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.aws.s3vectors.opened import MINE, Cloud, cloud
from memlane import Match, MemoryClient
from memlane.aws.s3vectors.candidates import has_marks_to_make
from memlane.local.memory import InMemoryBackend
from memlane.marks import marked_terms
from memlane.scope import Reach
from memlane.testing import HashingEmbedder
from memlane.testing._queries import check_columns
from memlane.testing.samples import NOW, indexed, make_record, put, query_for, unit, words
from memlane.windows import windows

__all__ = ("cloud",)

HERE = Reach.point(MINE, now=NOW)
CHAPTERS = ". ".join(f"Chapter {n} tells of thing {n} in the garden of stones" for n in range(90))
TEXTS = [
    f"{CHAPTERS}. The zebra likes apricots.",
    "A zebra in the zoo",
    "Apricots are orange",
    "\u675f\u304c\u308a" * 70 + "\u3002zebra \u304c\u3044\u308b\u3002",
]


def _told(matches: list[Match]) -> list[tuple[str, float, str, dict[str, float]]]:
    return [
        (
            one.record.text,
            round(one.score, 6),
            one.passage,
            {name: round(value, 6) for name, value in one.features.items()},
        )
        for one in matches
    ]


@pytest.mark.parametrize("question", ["zebra apricots", "chapter 53 garden", "zebra"])
async def test_words_find_what_they_find_elsewhere(cloud: Cloud, question: str) -> None:
    """The same records, scores and passages as a store that keeps every window's words."""
    answers: list[object] = []
    for backend in (cloud.backend(auto_onboard=True), InMemoryBackend()):
        async with MemoryClient(backend=backend, embedder=HashingEmbedder()) as client:
            for number, text in enumerate(TEXTS):
                await client.store(text, scope=MINE, record_id=f"r{number}")
            await cloud.asked()
            answers.append(_told([*await client.retrieve(question, scope=MINE, mode="text")]))
            told = await client.context(question, scope=MINE, mode="text", max_tokens=200)
            answers.append(told.text)
            assert set(await cloud.asked()) <= {"ListVectors", "GetVectors"}
    assert answers[:2] == answers[2:]


async def test_windows_are_cut_as_they_were_stored(cloud: Cloud) -> None:
    """With their words and their places; where they were cut otherwise only the whole counts."""
    backend = await cloud.onboarded()
    text = TEXTS[0]
    spans = windows(text, max_chars=10_000)
    item = indexed(make_record("a", text, scope=MINE), *[unit(0)] * (len(spans) + 1))
    parts = tuple(
        replace(part, start=start, end=end, terms=marked_terms(text[start:end]))
        for part, (start, end) in zip(item.parts, ((0, len(text)), *spans), strict=True)
    )
    await put(backend, replace(item, parts=parts))
    asked = query_for(None, terms=words(1))
    found = await backend.query(asked, reach=HERE)
    check_columns(found, asked)
    assert found.complete
    assert found.parts.tolist() == [*range(len(parts))]
    assert [tuple(span) for span in found.spans.tolist()] == [(p.start, p.end) for p in parts]
    edges = found.offsets.tolist()
    for at, part in enumerate(parts):
        assert found.terms[edges[at] : edges[at + 1]].tolist() == part.terms.tolist()
    await put(backend, replace(item, parts=parts[:3]))
    assert (await backend.query(asked, reach=HERE)).parts.tolist() == [0]


def test_long_texts_are_cut_by_a_worker() -> None:
    """Their words are there, and those of their windows are not."""
    long = {"key": "a", "metadata": {"content": TEXTS[0], "row": "x" * 100}}
    assert not has_marks_to_make([long])
    assert has_marks_to_make([long], windows=True)
    short = {"key": "a", "metadata": {"content": "x" * 149, "row": "x" * 100}}
    assert not has_marks_to_make([short] * 100, windows=True)
