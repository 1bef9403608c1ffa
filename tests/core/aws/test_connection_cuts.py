"""An answer is read the same in whatever pieces it comes, and leaves its connection as it was."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from core.aws.scripted import chunked, head, pieces, scripted

cuts = st.lists(st.integers(min_value=0, max_value=400), max_size=12)
names = st.sampled_from(["Date", "X-Amzn-RequestId", "x-amzn-errortype", "Vary", "Server"])
texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
news = [b"", head(status="100 Continue"), head("Link: x", status="103 Early Hints")]


@given(
    status=st.sampled_from([200, 201, 400, 403, 404, 429, 500, 503]),
    headers=st.dictionaries(names, texts, max_size=4),
    body=st.binary(max_size=300),
    chunks=st.none() | cuts,
    before=st.sampled_from(news),
    places=cuts,
)
def test_however_it_is_cut(**drawn: object) -> None:
    """With a length or in chunks: the same reply twice, on one connection."""
    asyncio.run(_twice(**drawn))  # type: ignore[arg-type]


async def _twice(
    *,
    status: int,
    headers: dict[str, str],
    body: bytes,
    chunks: list[int] | None,
    before: bytes,
    places: list[int],
) -> None:
    lines = [f"{name}: {text}" for name, text in headers.items()]
    if chunks is None:
        raw = head(*lines, f"Content-Length: {len(body)}", status=f"{status} R") + body
    else:
        raw = head(*lines, "Transfer-Encoding: chunked", status=f"{status} R")
        raw += chunked(body, chunks, "X-Late: is nobody's concern\r\n")
    async with scripted(pieces(before + raw, places)) as told:
        for _ in range(2):
            reply = await told.ask()
            assert (reply.status, reply.body) == (status, body)
            assert {name: reply.headers[name.lower()] for name in headers} == headers
            assert "x-late" not in reply.headers
        assert told.connections == 1
