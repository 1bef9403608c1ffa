"""What a model has no room for, and what it has no time for."""

from __future__ import annotations

import anyio
import pytest

from core.aws.bedrock.answering import Answer, Answering
from core.aws.bedrock.test_embedder import Make, make, plane, server, texts, titan
from memlane.errors import ThrottledError, ValidationError
from memlane.windows import clip

__all__ = ("make", "plane", "server")


@pytest.mark.parametrize("count", [1, 3])
async def test_no_capacity_before_the_deadline_is_said_so(
    make: Make, server: Answering, count: int
) -> None:
    """One text or many: what would be waited for in vain is an error, and not a bare timeout."""
    # For longer than the caller waits, however slow this machine is.
    refused = {"x-amzn-errortype": "ThrottlingException", "Retry-After": "19"}
    server.answer = lambda _: Answer({}, 429, refused)
    with anyio.fail_after(9), pytest.raises(ThrottledError):
        await make().embed(texts(count), purpose="document")


@pytest.mark.parametrize("letter", ["a", "\N{LATIN SMALL LETTER E WITH ACUTE}", "ह", "字", "😀"])
async def test_long_texts_are_refused_and_clipped_ones_sent_whole(
    make: Make, server: Answering, letter: str
) -> None:
    """Nothing is cut between here and the service, whatever the script."""
    server.answer = lambda _: titan({"inputText": "text 1", "dimensions": 256})
    embedder = make()
    long = letter * 9_000
    with pytest.raises(ValidationError, match="9000 characters; at most 2000"):
        await embedder.embed([long], purpose="document")
    with pytest.raises(ValidationError, match="2001 characters"):
        await embedder.embed([letter, letter * 2_001], purpose="document")
    assert server.asked == []
    await embedder.embed([clip(long, embedder.max_chars)], purpose="document")
    assert [asked["inputText"] for asked in server.asked] == [letter * 2_000]
