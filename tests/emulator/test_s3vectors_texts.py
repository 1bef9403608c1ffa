"""Full-text and hybrid queries, and how an index comes to answer them."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.signed import Signed, prepared
from memlane.testing.emulator import Emulator

TEXTS = {
    "seats": "She prefers window seats on long flights",
    "flight": "The flight was late, the flight crew was kind",
    "tea": "She drinks green tea",
}
CONFIGURED = [{"metadataKey": "content", "language": "en"}]


def filled(emulator: Emulator, *, configured: bool = True) -> Signed:
    """Return a client of an index of three texts, each in a direction of its own."""
    metadata: dict[str, Any] = {"nonFilterableMetadataKeys": ["content"]}
    if configured:
        metadata["textSearchConfigurations"] = CONFIGURED
    index = prepared(emulator, metadataConfiguration=metadata)
    for place, (key, text) in enumerate(TEXTS.items()):
        data = [0.1] * 4
        data[place] = 1
        assert index.put(key, data, {"content": text, "short": len(text) < 25}).status == 200
    return index


def ask(index: Signed, text: str, **more: Any) -> list[dict[str, Any]]:
    texts = [{"text": text, "metadataKey": "content"}]
    answer = index.call("QueryVectors", **{"topK": 10, "queryTexts": texts, **more})
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["vectors"]
    return found


def keys(found: list[dict[str, Any]]) -> list[str]:
    return [one["key"] for one in found]


def test_by_words_alone(emulator: Emulator) -> None:
    """A key that is not filterable can be searched; only what holds a word is found."""
    index = filled(emulator)
    assert keys(ask(index, "flight")) == ["flight"]
    assert keys(ask(index, "WINDOW tea she")) in (["tea", "seats"], ["seats", "tea"])
    assert ask(index, "boat") == []
    assert keys(ask(index, "she", filter={"short": True})) == ["tea"]
    assert keys(ask(index, "she", topK=1)) == ["tea"]


def test_stems_are_a_switch(emulator: Emulator) -> None:
    index = filled(emulator)
    assert keys(ask(index, "flights")) == ["seats"]
    emulator.blocking.switch(text_stems=True)
    assert set(keys(ask(index, "flights"))) == {"seats", "flight"}


def test_scores(emulator: Emulator) -> None:
    index = filled(emulator)
    (plain,) = ask(index, "tea")
    assert plain == {"key": "tea"}
    (told,) = ask(index, "tea", returnScores=True, returnDistance=True)
    assert set(told) == {"key", "scores"}
    ((score,), others) = told["scores"].pop("bm25Scores"), told["scores"]
    assert (score["metadataKey"], others) == ("content", {})
    assert score["score"] > 0


def test_both_are_fused_by_rank(emulator: Emulator) -> None:
    """The nearest is last by words, and the other way about: rank decides, and its constant."""
    index = filled(emulator)
    vector = {"float32": [1, 0.5, 0.1, 0]}
    found = ask(index, "flight late", queryVector=vector, returnScores=True, returnDistance=True)
    assert keys(found) == ["flight", "seats", "tea"]
    first = found[0]
    assert first["scores"]["fused"] == pytest.approx(1 / 61 + 1 / 62)
    assert first["scores"]["vectorDistance"] == first["distance"]
    assert found[1]["scores"]["fused"] == pytest.approx(1 / 61)
    assert found[1]["scores"]["bm25Scores"] == []
    emulator.blocking.switch(rrf_constant=1)
    again = ask(index, "flight late", queryVector=vector, returnScores=True)
    assert again[0]["scores"]["fused"] == pytest.approx(1 / 2 + 1 / 3)


def test_no_scores_of_a_vector_search(emulator: Emulator) -> None:
    index = filled(emulator)
    found = index.query([1, 0, 0, 0], returnScores=True).json["vectors"]
    assert all(set(one) == {"key"} for one in found)


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [{"text": "a"}],
        [{"text": "", "metadataKey": "content"}],
        [{"text": "a" * 1025, "metadataKey": "content"}],
        [{"text": "a", "metadataKey": "other"}],
        [{"text": "a", "metadataKey": "content"}, {"text": "b", "metadataKey": "content"}],
        [{"text": "a", "metadataKey": f"k{n}"} for n in range(11)],
    ],
)
def test_texts_that_are_refused(emulator: Emulator, texts: list[dict[str, str]]) -> None:
    index = filled(emulator)
    answer = index.call("QueryVectors", topK=1, queryTexts=texts)
    assert answer.error[:2] == (400, "ValidationException")


def status(index: Signed) -> list[str]:
    told = index.call("GetIndex").json["index"]["metadataConfiguration"]
    return [one["status"] for one in told.get("textSearchConfigurations", ())]


def test_an_index_learns_to_search_its_texts(emulator: Emulator) -> None:
    emulator.blocking.switch(signature_seconds=0, backfill_seconds=60)
    index = filled(emulator, configured=False)
    texts = [{"text": "tea", "metadataKey": "content"}]
    assert index.call("QueryVectors", topK=1, queryTexts=texts).status == 400
    add = {"textSearchConfigurations": CONFIGURED}
    assert index.call("UpdateMetadataConfiguration", add=add).json["indexArn"]
    assert status(index) == ["BUILDING"]
    assert index.call("QueryVectors", topK=1, queryTexts=texts).status == 400
    emulator.blocking.advance(61)
    assert status(index) == ["ACTIVE"]
    assert keys(ask(index, "tea")) == ["tea"]
    assert index.call("UpdateMetadataConfiguration", add=add).status == 409
    delete = {"textSearchConfigurations": [{"metadataKey": "content"}]}
    assert index.call("UpdateMetadataConfiguration", add=add, delete=delete).status == 400
    assert index.call("UpdateMetadataConfiguration").status == 400
    assert index.call("UpdateMetadataConfiguration", delete=delete).status == 200
    assert status(index) == []
    assert index.call("UpdateMetadataConfiguration", delete=delete).status == 400


def test_only_enhanced_indexes_search_texts(emulator: Emulator) -> None:
    emulator.blocking.switch(legacy_buckets=True)
    index = prepared(emulator)
    add = {"textSearchConfigurations": CONFIGURED}
    assert index.call("UpdateMetadataConfiguration", add=add).status == 400
    texts = [{"text": "tea", "metadataKey": "content"}]
    assert index.call("QueryVectors", topK=1, queryTexts=texts).status == 400


def test_what_is_stored_later_is_found_at_once(emulator: Emulator) -> None:
    index = filled(emulator)
    index.put("more", metadata={"content": "a boat"})
    assert keys(ask(index, "boat")) == ["more"]
    index.put("more", metadata={"content": "a ship"})
    assert ask(index, "boat") == []
