"""Lines come in many ways, and from several at once."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.portable.files import ADA, BOB, a_file, a_record, exported, opened
from memlane import ImportFileError, ImportReceipt, NewMemory, Progress, Scope, ValidationError


@pytest.fixture(params=["memory", "sqlite"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """A store in memory, and one in a file."""
    return None if request.param == "memory" else tmp_path / "there.db"


async def _later(lines: list[str]) -> AsyncIterator[str]:
    for line in lines:
        await anyio.lowlevel.checkpoint()
        yield line


def _stream(lines: list[str]) -> Iterator[bytes]:
    yield from (line.encode() for line in lines)


async def test_lines_come_in_any_way(tmp_path: Path) -> None:
    """Text or bytes, now or later, from a list, a generator or a file; with other line ends."""
    async with opened() as here:
        await here.store_many([NewMemory(content=f"note {n}") for n in range(4)], scope=ADA)
        lines = await exported(here)
    text = "".join(lines)
    (tmp_path / "whole.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    ways: list[Any] = [
        lines,
        tuple(lines),
        [line.rstrip("\n") for line in lines],
        _later(lines),
        _stream(lines),
        (line.replace("\n", "\r\n") for line in lines),
        ["\ufeff" + lines[0], "\n", "  \r\n", *lines[1:], "\n", ""],
        io.StringIO(text),
        io.BytesIO(text.replace("\n", "\r\n").encode()),
        text.splitlines(),
    ]
    async with opened() as there:
        for number, way in enumerate(ways):
            receipt = await there.import_records(way, scope=Scope(f"user-{number}"))
            assert receipt.imported == 4, number
        with (tmp_path / "whole.jsonl").open("rb") as file:
            assert (await there.import_records(file, scope=Scope("file"))).imported == 4
        async with await anyio.open_file(tmp_path / "whole.jsonl", encoding="utf-8") as later:
            assert (await there.import_records(later, scope=Scope("later"))).imported == 4
        for wrong in ("text", b"text", None, 7, bytearray(b"x")):
            with pytest.raises(ValidationError, match="lines must be lines"):
                await there.import_records(wrong, scope=Scope("wrong"))  # type: ignore[arg-type]


@pytest.mark.parametrize("later", [False, True])
async def test_a_file_of_another_encoding(tmp_path: Path, later: bool) -> None:
    """Opened as text it fails as any damaged file does, and nothing of it is quoted anywhere."""
    file = "".join(a_file([a_record("a")], [a_record("b", text="secret")])).encode()
    path = tmp_path / "latin.jsonl"
    # Far behind the first page: a text file is decoded in pieces.
    *first, rest = file.replace(b"secret", b"secret \xe9").split(b"\n", 3)
    path.write_bytes(b"\n".join([*first, b"\n" * 10_000, rest]))
    async with opened() as there:
        if later:
            async with await anyio.open_file(path, encoding="utf-8") as lines:
                with pytest.raises(ImportFileError, match="'rb'") as caught:
                    await there.import_records(lines, scope=BOB)
        else:
            with (
                path.open(encoding="utf-8") as given,
                pytest.raises(ImportFileError, match="'rb'") as caught,
            ):
                await there.import_records(given, scope=BOB)
        assert caught.value.imported == 1
        assert caught.value.line is not None
        assert caught.value.line > 3
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert [record.text async for record in there.iterate(scope=BOB)] == ["text of a"]


async def test_progress_is_told(path: Path | None) -> None:
    """After each page, counting what was left out too."""
    pages = [[a_record(f"{page}-{n}") for n in range(3)] for page in range(3)]
    told: list[Progress] = []
    async with opened(path) as there:
        await there.import_records(a_file(pages[0]), scope=BOB)
        receipt = await there.import_records(a_file(*pages), scope=BOB, on_progress=told.append)
    assert [progress.done for progress in told] == [3, 6, 9]
    assert (receipt.imported, receipt.skipped) == (6, 3)


async def test_two_import_the_same_at_once(path: Path | None) -> None:
    """Each record is stored once, by one of them."""
    file = a_file(*[[a_record(f"{page}-{n}") for n in range(40)] for page in range(5)])
    found: list[ImportReceipt] = []
    async with opened(path) as there:

        async def import_it() -> None:
            found.append(await there.import_records(_later(file), scope=BOB))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(import_it)
        assert await there.count(scope=BOB) == 200
    assert sum(receipt.imported for receipt in found) == 200
    assert sum(receipt.skipped for receipt in found) == 400
