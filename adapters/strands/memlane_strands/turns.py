"""Between Strands' messages and memlane's texts: no await, no client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast

from memlane import MetadataValue, NewMemory
from memlane_strands.runs import Message, Run

__all__ = (
    "MAX_PIECE_BYTES",
    "is_user_turn",
    "memories_of",
    "own_turn",
    "pieces",
    "place_of",
    "shown",
    "text_of",
)

MAX_PIECE_BYTES: Final = 24 * 1024
"""Of the 32 KiB a record may have; the others are for the exact forms of scope and times."""

_LATE = 0.75  # a piece ends at white space, if there is any in its last quarter

_CONTINUES: Final = 0x80  # the high bits of a byte within a UTF-8 character

_TICK: Final = timedelta(microseconds=1)


def _texts(block: Mapping[str, Any]) -> Iterator[str]:
    if "text" in block:
        yield block["text"]
    elif "citationsContent" in block:
        for part in block["citationsContent"].get("content", ()):
            yield part.get("text", "")
    elif "guardContent" in block:
        guarded = block["guardContent"].get("text", {})
        if "grounding_source" not in guarded.get("qualifiers", ()):
            yield guarded.get("text", "")


def text_of(message: Message) -> str:
    """Return what a message says, without tools, reasoning, images and documents."""
    said = "\n".join(text for block in message["content"] for text in _texts(block) if text)
    # A lone surrogate in a model's output must not cost the whole turn.
    return said.encode("utf-8", "replace").decode().strip()


def is_user_turn(message: Message) -> bool:
    """Say whether somebody speaks here, and not a tool."""
    return message["role"] == "user" and not any(
        "toolResult" in block for block in message["content"]
    )


def own_turn(messages: Sequence[Message], prompt: Sequence[Message]) -> int | None:
    """Return the place in history of the turn that an invocation began with.

    It need not be the last one: an agent that may be entered again has several invocations'
    messages in one history.

    Args:
        messages: The history, as the model is about to see it.
        prompt: The invocation's own messages.
    """
    own = {message.get("tracking_id") for message in prompt if is_user_turn(message)} - {None}
    last = len(messages) - 1
    if not own:  # the invocation goes on from the history as it is
        return last if messages and is_user_turn(messages[last]) else None
    for place in range(last, -1, -1):
        if messages[place].get("tracking_id") in own:
            return place
    return None


def place_of(messages: Sequence[Message], tracking_id: str | None) -> int | None:
    """Return the place of a message in history; None when it is there no more."""
    if tracking_id is not None:
        for place in range(len(messages) - 1, -1, -1):
            if messages[place].get("tracking_id") == tracking_id:
                return place
    return None


def shown(message: Message, block: str) -> dict[str, Any]:
    """Return a copy of a message with a block of memories after it."""
    # Some providers join neighbouring texts, which would run it into the user's own words.
    return {**message, "content": [*message["content"], {"text": f"\n\n{block}"}]}


def pieces(text: str, *, most: int = MAX_PIECE_BYTES) -> list[str]:
    """Cut a text into pieces of at most `most` UTF-8 bytes; joined they are the text again."""
    raw = text.encode("utf-8")
    found: list[str] = []
    start = 0
    while len(raw) - start > most:
        end = start + most
        while raw[end] & 0xC0 == _CONTINUES:
            end -= 1
        space = max(raw.rfind(mark, start, end) for mark in (b"\n", b" "))
        if space >= start + most * _LATE:
            end = space + 1
        found.append(raw[start:end].decode())
        start = end
    found.append(raw[start:].decode())
    return found


def memories_of(run: Run, *, replied: bool, ended: datetime, namespace: str) -> list[NewMemory]:
    """Return what is to be remembered of an invocation, in the order it was said.

    Args:
        run: The invocation.
        replied: Whether the model's words count: it was neither stopped nor did it fail.
        ended: When it ended.
        namespace: Where the records go.
    """
    said: list[tuple[Literal["user", "assistant"], str, datetime]] = [
        (message["role"], text_of(message), run.begun) for message in run.prompt
    ]
    if replied:
        reply = "\n\n".join(filter(None, map(text_of, run.replies)))
        # Two clocks read at once may agree; what was answered came after what was asked.
        said.append(("assistant", reply, max(ended, run.begun + _TICK)))
    found: list[NewMemory] = []
    for role, text, when in said:
        parts = [part for part in pieces(text) if part.strip()]
        for number, part in enumerate(parts, 1):
            metadata: dict[str, object] = {"role": role}
            if len(parts) > 1:
                metadata |= {"part": number, "parts": len(parts)}
            found.append(
                NewMemory(
                    content=part,
                    namespace=namespace,
                    kind="message",
                    metadata=cast("Mapping[str, MetadataValue]", metadata),
                    actor=role,
                    source=role,
                    occurred_at=when,
                    idempotency_key=f"{run.id}:{len(found)}",
                )
            )
    return found
