"""What a page costs in memory: lines of a great many values are refused before they are made."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.portable.files import BOB, a_file, a_record, opened
from memlane import ImportFileError
from memlane.portable.fields import outside_strings
from memlane.portable.lines import MAX_LINE_BYTES, PAGE_BYTES

MANY = (MAX_LINE_BYTES - 1_000) // 3
LISTS = ",".join(["[]"] * MANY)
HEADER = a_file()[0]


def _record(tags: str) -> str:
    return '{"record":{"tags":[%s]}}' % tags  # noqa: UP031 - braces


def _file(*records: str) -> list[str]:
    return a_file(list(records), write=lambda one: one if isinstance(one, str) else json.dumps(one))  # type: ignore[arg-type] # as it is written


HOSTILE: dict[str, tuple[Callable[[], list[str]], int]] = {
    "lists": (lambda: _file(_record(LISTS)), 2),
    "lists, their checksum wrong": (lambda: _file(_record(LISTS))[:2] + _file("x")[2:], 2),
    "objects": (lambda: _file(_record(LISTS.replace("[]", "{}"))), 2),
    "many lines": (lambda: _file(*(_record(LISTS[:1_000_000]) for _ in range(12))), 10),
    "a header": (lambda: ['{"memlane":[%s]}' % LISTS], 1),  # noqa: UP031 - braces
    "a page": (lambda: [HEADER, '{"page":[%s]}' % LISTS], 2),  # noqa: UP031 - braces
    "an end": (lambda: [HEADER, '{"end":[%s]}' % LISTS], 2),  # noqa: UP031 - braces
    "another line": (lambda: [HEADER, "[%s]" % LISTS], 2),  # noqa: UP031 - braces
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_great_many_values_are_never_made(name: str) -> None:
    """32 MiB of them would be a gigabyte; a refusal takes a few copies of the line."""
    make, line = HOSTILE[name]
    lines = make()
    async with opened() as there:
        tracemalloc.start()
        try:
            with pytest.raises(ImportFileError, match="outside strings") as caught:
                await there.import_records(lines, scope=BOB)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert caught.value.line == line
    assert (caught.value.imported, caught.value.remedy is None) == (0, False)
    assert peak < 3 * MAX_LINE_BYTES, peak


async def test_names_are_values_too() -> None:
    """One object of a great many is refused as many of none are."""
    names = ",".join(f'"{n:x}":0' for n in range(1_800_000))
    async with opened() as there:
        with pytest.raises(ImportFileError, match="line 2 goes beyond"):
            await there.import_records(_file(_record("{%s}" % names)), scope=BOB)  # noqa: UP031


async def test_the_longest_record_is_taken() -> None:
    """A record with 100 versions is longer than a page, nearly all of it within strings."""
    text = '\u00e9[{",\\' * 4_600
    told = a_record(version=101, text=text)
    version = {name: each for name, each in told["record"].items() if name != "id"}
    told["versions"] = [version | {"version": n} for n in range(100, 0, -1)]
    lines = a_file([told])
    assert len(lines[1]) > PAGE_BYTES * 0.6
    told["versions"] = [one | {"text": "\u00e9" * 16_000} for one in told["versions"]]
    longer = a_file([told])
    assert len(longer[1]) > PAGE_BYTES
    for each in (lines, longer):
        async with opened() as there:
            assert (await there.import_records(each, scope=BOB)).imported == 1


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\\n\u00e9[{,', max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text('b"\\', max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value if isinstance(value, list | dict) else ():
        yield from _strings(each)
    if isinstance(value, dict):
        yield from (told for each in value.values() for told in _strings(each))


@given(value=_JSON, ascii_only=st.booleans())
def test_what_is_outside_strings(value: Any, ascii_only: bool) -> None:
    """All but what is between quotes, whatever is escaped there."""
    line = json.dumps(value, ensure_ascii=ascii_only)
    within = sum(len(json.dumps(one, ensure_ascii=ascii_only)) - 2 for one in _strings(value))
    assert outside_strings(line) == len(line) - within


@pytest.mark.parametrize("line", ['"', '"a', 'x"\\', '"\\"', '"a"b"c', "\\", ""])
def test_what_is_no_json_is_counted_too(line: str) -> None:
    """It ends, and says no more than there is."""
    assert 0 <= outside_strings(line) <= len(line) + 1
