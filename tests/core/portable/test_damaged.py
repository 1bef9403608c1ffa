"""Files that are not as they were written: refused by line, with nothing of a bad page stored."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.portable.files import ADA, BOB, a_file, a_record, everything, exported, header, opened
from memlane import ImportFileError, MemoryClient, NewMemory
from memlane.portable import MAX_LINE_BYTES, Gatherer

DEEP = "[" * 10_000 + "]" * 10_000
GOOD = [a_record("one"), a_record("two")]


@pytest.fixture(params=["memory", "sqlite"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """A store in memory, and one in a file."""
    return None if request.param == "memory" else tmp_path / "there.db"


async def refused(client: MemoryClient, lines: Any) -> ImportFileError:
    before = await client.count(scope=BOB)
    with pytest.raises(ImportFileError) as caught:
        await client.import_records(lines, scope=BOB)
    assert caught.value.operation == "import_records"
    assert caught.value.scope == BOB
    assert caught.value.remedy
    assert caught.value.imported == await client.count(scope=BOB) - before
    return caught.value


def _raw(*pages: Sequence[Any]) -> list[str]:
    """Return a file some of whose records are raw text."""
    return a_file(*pages, write=lambda one: one if isinstance(one, str) else json.dumps(one))


def _with(**fields: Any) -> Callable[[], list[str]]:
    return lambda: a_file(GOOD, [a_record("bad", **fields)])


def _beside(**fields: Any) -> Callable[[], list[str]]:
    return lambda: a_file(GOOD, [a_record("bad") | fields])


def _much() -> dict[str, Any]:
    """Return a record that is one text a hundred times over."""
    whole = {"start": 0, "end": 30_000, "vector": _VECTOR["vector"]}
    return a_record("bad", text="x" * 30_000) | {"parts": [whole] * 100}


def _head(**fields: Any) -> Callable[[], list[str]]:
    return lambda: a_file(head=header(**fields))


def _version(**fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = a_record(version=1, **fields)["record"]
    del told["id"]
    return told


_VECTOR = {"start": 0, "end": 11, "vector": "AACAPwAAAAA="}  # 1, 0

# What is wrong, at which line, and what the error says.
WRONG: dict[str, tuple[Callable[[], Any], int, str]] = {
    "nothing": (list, 0, "empty"),
    "blank": (lambda: ["\n", " \n"], 2, "empty"),
    "no header": (lambda: a_file(GOOD)[1:], 1, "how an export begins"),
    "a transcript": (lambda: ["Ada: hello"], 1, "how an export begins"),
    "another kind": (_head(memlane="backup"), 1, "how an export begins"),
    "later format": (_head(format=2, news="x"), 1, "format 2, and this memlane reads 1"),
    "format of a float": (_head(format=1.0), 1, "'format' that is no whole number"),
    "format is true": (_head(format=True), 1, "'format' that is no whole number"),
    "header with more": (_head(news=1), 1, "unknown field 'news'"),
    "header with less": (_head(space=...), 1, "no 'space'"),
    "filter is no filter": (_head(filter="x"), 1, "'filter' that is no object"),
    "two headers": (lambda: [a_file()[0], *a_file(GOOD)], 2, "no line of an export"),
    "cut in a page": (lambda: a_file(GOOD, GOOD)[:-3], 5, "ends with line 5"),
    "cut before the end": (lambda: a_file(GOOD)[:-1], 4, "ends with line 4"),
    "cut in a line": (lambda: [*a_file(GOOD)[:-1], '{"end":tr'], 5, "not JSON"),
    "cut in a record": (lambda: [*a_file(GOOD)[:2], a_file(GOOD)[2][:40]], 3, "ends with line 3"),
    "end in a page": (lambda: [*a_file(GOOD)[:3], a_file(GOOD)[-1]], 4, "in the middle of a page"),
    "behind the end": (lambda: [*a_file(GOOD), *a_file(GOOD)], 6, "behind the end"),
    "end is wrong": (
        lambda: [*a_file(GOOD)[:-1], '{"end":true,"pages":1,"records":3}'], 5, "1 of 2 came",
    ),
    "end with more": (
        lambda: [*a_file(GOOD)[:-1], '{"end":true,"pages":1,"records":2,"x":1}'], 5, "unknown",
    ),
    "not JSON": (lambda: _raw(GOOD, ['{"record": {]']), 5, "not JSON"),
    "an array": (lambda: _raw(GOOD, ["[1]"]), 5, "not a JSON object"),
    "no line of ours": (lambda: _raw(GOOD, ['{"message": 1}']), 5, "no line of an export"),
    "a name twice": (
        lambda: _raw(GOOD, [json.dumps(a_record("bad"))[:-2] + ',"text":"x"}}']), 5, "name twice",
    ),
    "too deep": (lambda: _raw(GOOD, ['{"record":%s}' % DEEP]), 5, "too deep"),  # noqa: UP031
    "deep metadata": (
        lambda: _raw(GOOD, [json.dumps(a_record("bad", metadata={"x": 7})).replace("7", DEEP)]),
        5, "too deep",
    ),
    "17 levels": (_with(metadata={"x": json.loads("[" * 17 + "]" * 17)}), 5, "16 levels"),
    "NaN": (lambda: _raw(GOOD, [json.dumps(a_record("bad", metadata={"x": float("nan")}))]), 5,
            "not JSON"),
    "infinite": (lambda: _raw(GOOD, [json.dumps(a_record("b", metadata={"x": 7})).replace(
        '"x": 7', '"x": 1e999')]), 5, "not finite"),
    "beyond 64 bits": (_with(metadata={"x": 2**64}), 5, "64 bits"),
    "5,000 digits": (lambda: _raw(GOOD, ['{"record":' + "1" * 5_000 + "}"]), 5, "not JSON"),
    "a surrogate": (_with(text="\ud800"), 5, "lone surrogate"),
    "a blank text": (_with(text=" "), 5, "content is blank"),
    "a long text": (_with(text="x" * 33_000), 5, "33,000 bytes"),
    "no text": (_with(text=...), 5, "no 'text'"),
    "text of a number": (_with(text=7), 5, "'text' that is no string"),
    "an unknown field": (_with(mood="good"), 5, "unknown field 'mood'"),
    "an odd field": (_with(**{"Ada lives here": 1}), 5, "with an unusual name"),
    "an unknown field beside": (_beside(mood="good"), 5, "unknown field 'mood'"),
    "version 0": (_with(version=0), 5, "'version' that is none"),
    "version true": (_with(version=True), 5, "no whole number"),
    "version far": (_with(version=10**30), 5, "'version' that is none"),
    "time without a zone": (_with(stored_at="2026-03-14T09:26:53"), 5, "no time with its zone"),
    "time that is none": (_with(updated_at="yesterday"), 5, "no time with its zone"),
    "time before time": (_with(occurred_at="0001-01-01T00:00:00+14:00"), 5, "no time"),
    "no stored_at": (_with(stored_at=...), 5, "no 'stored_at'"),
    "ends before it was stored": (
        _with(
            expires_at="2030-01-01T00:00:00Z",
            stored_at="2031-01-01T00:00:00Z",
            updated_at="2031-01-01T00:00:00Z",
        ),
        5, "passed",
    ),
    "a namespace": (_with(namespace="a/../b"), 5, "namespace"),
    "a kind": (_with(kind="Upper Case"), 5, "kind"),
    "an agent": (_with(agent=""), 5, "agent is empty"),
    "a session": (_with(session="\n"), 5, "session is empty"),
    "an actor": (_with(actor="\x00"), 5, "control character"),
    "tags of numbers": (_with(tags=[1]), 5, "tag must be a string"),
    "too many keys": (_with(metadata={str(n): n for n in range(40)}), 5, "40 keys"),
    "a reserved key": (_with(metadata={"@x": 1}), 5, "kept for filters"),
    "images of numbers": (_with(images=[1]), 5, "something else among its 'images'"),
    "an image": (
        _with(images=[{"sha256": "x", "media_type": "image/png", "size": 1, "embedded": True}]),
        5, "picture that is none",
    ),
    "101 versions": (_beside(versions=[_version()] * 101), 5, "more than 100 versions"),
    "versions out of order": (_beside(versions=[_version(), _version() | {"version": 2}]), 5,
                              "out of order"),
    "a version with an id": (_beside(versions=[_version(id="x") | {"id": "x"}]), 5, "field 'id'"),
    "a blank version": (
        lambda: a_file(GOOD, [a_record("b", version=2) | {"versions": [_version(text="")]}]), 5,
        "blank",
    ),
    "a vector of letters": (_beside(parts=[_VECTOR | {"vector": "!!"}]), 5, "not base64"),
    "a vector cut": (_beside(parts=[_VECTOR | {"vector": "AACAPwA="}]), 5, "not base64"),
    "a short vector": (_beside(parts=[_VECTOR]), 5, "not of 64 dimensions"),
    "a zero vector": (_beside(parts=[_VECTOR | {"vector": "A" * 340 + "AA=="}]), 5, "zero"),
    "a span too far": (_beside(parts=[_VECTOR | {"end": 12}]), 5, "not its text"),
    "a span backwards": (_beside(parts=[_VECTOR, _VECTOR | {"start": 7, "end": 3}]), 5, "not its"),
    "too many vectors": (lambda: a_file(GOOD, [_much()]), 5, "more vectors"),
    "a part of a window": (_beside(parts=[_VECTOR | {"start": 3}]), 5, "not its text"),
    "a record twice, unlike": (
        lambda: a_file(GOOD, [a_record("one", text="otherwise")]), 5, "says otherwise",
    ),
    "a page too long": (
        lambda: a_file([a_record(str(n)) for n in range(501)]), 502, "one too many for its page",
    ),
    "no UTF-8": (lambda: [line.encode("utf-16") for line in a_file(GOOD)], 1, "not UTF-8"),
    "bytes of Latin 1": (lambda: [b'{"memlane":"export","x":"\xe9"}'], 1, "not UTF-8"),
    "a surrogate in a line": (lambda: ["\ud800"], 1, "not UTF-8"),
    "something else": (lambda: [*a_file(GOOD)[:2], None], 3, "must be text, not NoneType"),
    "a long line": (lambda: [*a_file(GOOD), "x" * (MAX_LINE_BYTES + 3)], 6, "33,554,432 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_is_said(name: str) -> None:
    """The line, the reason and a remedy; whole pages before it are stored, and nothing else is."""
    make, line, reason = WRONG[name]
    async with opened() as there:
        error = await refused(there, make())
        assert error.line == line
        first_is_whole = line > 4 and name != "a page too long"
        assert error.imported == (2 if first_is_whole or name == "cut before the end" else 0)
        assert reason in str(error)
        assert len(str(error)) < 400
        assert {r.text for r in await everything(there, BOB)} <= {"text of one", "text of two"}


EDITS: dict[str, Callable[[list[str]], list[str]]] = {
    "a letter": lambda lines: [*lines[:1], lines[1].replace("text of", "next of"), *lines[2:]],
    "a space": lambda lines: [*lines[:1], lines[1].replace(": ", ":  ", 1), *lines[2:]],
    "the header": lambda lines: [lines[0].replace("hashing:64", "hashing:65"), *lines[1:]],
    "a record more": lambda lines: [*lines[:2], lines[1], *lines[2:]],
    "a record less": lambda lines: [lines[0], *lines[2:]],
    "another order": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "the count": lambda lines: [*lines[:3], lines[3].replace('"records": 2', '"records": 3')],
    "the number": lambda lines: [*lines[:3], lines[3].replace('"page": ', '"page": 1')],
    "the checksum": lambda lines: [*lines[:3], lines[3].replace('"sha256": "', '"sha256": "0')],
    "no page": lambda lines: [*lines[:3], *lines[4:]],
}


@pytest.mark.parametrize("name", EDITS)
async def test_a_page_that_was_edited_is_not_stored(path: Path | None, name: str) -> None:
    """Not one record of it; the page before it is."""
    whole = a_file(GOOD, [a_record("three"), a_record("four")])
    async with opened(path) as there:
        error = await refused(there, EDITS[name](a_file(GOOD)))
        assert error.imported == 0
        second = [whole[4], *whole[4:]] if name == "the header" else EDITS[name](["", *whole[4:]])
        error = await refused(there, [*whole[:4], *second])
        assert error.imported == 2
        receipt = await there.import_records(whole, scope=BOB)
    assert (receipt.imported, receipt.skipped) == (2, 2)


async def test_pages_have_their_order(path: Path | None) -> None:
    """A page that is missing, or there twice, is found by its number."""
    whole = a_file(GOOD, [a_record("three")], [a_record("four")])
    async with opened(path) as there:
        assert "page 3 where page 2" in str(await refused(there, [*whole[:4], *whole[6:]]))
        assert "page 2 where page 3" in str(await refused(there, [*whole[:6], *whole[4:]]))


async def test_equal_records_are_one(path: Path | None) -> None:
    """A record that is there twice, on one page or on two, is stored once."""
    async with opened(path) as there:
        receipt = await there.import_records(a_file([*GOOD, GOOD[0]], [GOOD[1]]), scope=BOB)
        assert (receipt.imported, receipt.skipped) == (2, 2)
        assert await there.count(scope=BOB) == 2


@pytest.fixture(scope="module")
def whole() -> list[str]:
    """Return an export of three pages, as this program writes it."""
    import anyio  # noqa: PLC0415 - of this fixture alone

    async def make() -> list[str]:
        async with opened() as here:
            await here.store_many([NewMemory(content=f"note {n}") for n in range(1_050)], scope=ADA)
            return await exported(here)

    return anyio.run(make)


def _taken(lines: list[str]) -> tuple[int, int | None]:
    """Return how many records a file gives, and the line that is refused."""
    gatherer, count = Gatherer(), 0
    try:
        for line in lines:
            page = gatherer.add(line)
            count += len(page.records) if page else 0
        gatherer.finish()
    except ImportFileError as error:
        return count, error.line
    return count, None


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    at=st.integers(0, 1_054), part=st.floats(0, 0.99), letter=st.sampled_from('0a "{}:,\\\u00e9')
)
@example(at=0, part=0.0, letter=" ")
@example(at=1_054, part=0.98, letter=" ")
def test_any_edit_is_found(whole: list[str], at: int, part: float, letter: str) -> None:
    """Whatever character changes, and wherever a file is cut: what comes is whole pages only."""
    assert len(whole) == 1_055
    line = whole[at]
    place = int(part * (len(line) - 1))
    before = sum(count for end, count in [(501, 500), (1_002, 500), (1_053, 50)] if at > end)
    edited = line[:place] + letter + line[place + 1 :]
    count, refused_at = _taken([*whole[:at], edited, *whole[at + 1 :]])
    cursor = line.find('"after":"')  # of no meaning to who imports
    if edited != line and not 0 <= cursor < place:
        assert refused_at is not None
        assert count == before
    cut, refused_at = _taken([*whole[:at], line[:place]])
    assert refused_at is not None
    assert cut == before


class _Endless(io.RawIOBase):
    """A line without an end, a gigabyte and more; counts what was read of it."""

    def __init__(self) -> None:
        self.read_so_far = 0

    def readable(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 < size <= MAX_LINE_BYTES + 3
        self.read_so_far += size
        return b"x" * size


async def test_a_line_without_an_end_is_not_read_to_its_end() -> None:
    """A file is never asked for more than a line may have."""
    file = _Endless()
    async with opened() as there:
        error = await refused(there, file)
    assert "more than 33,554,432 bytes" in str(error)
    assert file.read_so_far < 40_000_000


def _gone(pages: int) -> Iterator[str]:
    """Yield a file of records that have expired, 1 MB a page, made as it is read."""
    text = "x" * 2_000
    for number in range(pages):
        page = [
            a_record(f"{number}-{n}", text=text, expires_at="2026-03-14T09:26:53.6+00:00")
            for n in range(500)
        ]
        head, *lines, behind, _ = a_file(page)
        if number:
            told = json.loads(behind) | {"page": number + 1}
            told["sha256"] = hashlib.sha256("".join(lines).encode()).hexdigest()
            behind = json.dumps(told)
        yield from [head, *lines, behind] if not number else [*lines, behind]
    yield json.dumps({"end": True, "pages": pages, "records": 500 * pages})


async def test_a_large_file_takes_no_more_memory_than_a_small_one() -> None:
    """Of 14 MB, no more than a few pages are in memory at once."""
    async with opened() as there:
        there._clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined]
        await there.import_records(_gone(1), scope=BOB)
        tracemalloc.start()
        try:
            receipt = await there.import_records(_gone(12), scope=BOB)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (receipt.imported, receipt.skipped) == (0, 6_000)
    assert peak < 9_000_000, peak


async def test_what_a_source_raises_is_raised(path: Path | None) -> None:
    """A reader that fails is not taken for a file that ends; what was whole is stored."""

    def broken() -> Iterator[str]:
        yield from a_file(GOOD)[:4]
        raise OSError("the disk is gone")

    async with opened(path) as there:
        with pytest.raises(OSError, match="gone"):
            await there.import_records(broken(), scope=BOB)
        assert await there.count(scope=BOB) == 2
