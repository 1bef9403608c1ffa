"""Cutting long messages, and finding an invocation's own turn in a shared history."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from memlane_strands.turns import own_turn, pieces, text_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(TEXTS, st.integers(4, 50))
def test_pieces_are_the_text(text: str, most: int) -> None:
    """No piece is over the limit, and together they are the text, byte by byte."""
    found = pieces(text, most=most)
    assert "".join(found) == text
    assert all(len(piece.encode()) <= most for piece in found)
    assert len(found) == 1 or all(found)


def test_pieces_end_between_words() -> None:
    """A piece ends at white space where there is some near its end."""
    assert pieces("four words are here", most=11) == ["four words ", "are here"]


@given(st.lists(st.sampled_from(["user", "assistant", "tool", "own"]), max_size=8))
def test_the_own_turn_is_found_wherever_it_is(roles: list[str]) -> None:
    """The invocation's own turn is the last of its own messages, whatever follows it."""
    history: list[dict[str, Any]] = []
    for place, role in enumerate(roles):
        block: dict[str, Any] = {"toolResult": {}} if role == "tool" else {"text": role}
        speaker = "assistant" if role == "assistant" else "user"
        history.append({"role": speaker, "content": [block], "tracking_id": f"id{place}"})
    own = [message for message in history if message["content"] == [{"text": "own"}]]
    found = own_turn(history, own)
    if own:
        assert found == max(p for p, role in enumerate(roles) if role == "own")
    elif roles and roles[-1] == "user":
        assert found == len(roles) - 1
    else:
        assert found is None


def test_citations_are_what_the_model_said() -> None:
    """Text with citations is text; reasoning, tools and pictures are not."""
    message = {
        "role": "assistant",
        "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm"}}},
            {"citationsContent": {"citations": [], "content": [{"text": "It is so."}]}},
            {"toolUse": {"name": "weather", "toolUseId": "1", "input": {}}},
            {"image": {}},
            {"text": "Really."},
        ],
    }
    assert text_of(message) == "It is so.\nReally."
