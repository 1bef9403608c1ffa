"""Pictures go with their records: what is kept of them, and their vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.portable.files import ADA, BOB, a_file, a_record, everything, exported, opened
from memlane import Image, ImageNote, ImportFileError, Text
from memlane.testing import HashingImageEmbedder, png


@pytest.fixture(params=["memory", "sqlite"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """A store in memory, and one in a file."""
    return None if request.param == "memory" else tmp_path / "there.db"


async def test_pictures_move(path: Path | None) -> None:
    """With vectors they are found by what they show; without, their record's words find them."""
    picture = Image(png("a red bicycle"), name="bicycle.png")
    async with (
        opened(embedder=HashingImageEmbedder()) as here,
        opened(path, embedder=HashingImageEmbedder()) as there,
    ):
        await here.store([Text("In the yard"), picture], scope=ADA)
        [before] = await everything(here, ADA)
        lines = await exported(here, vectors=True)
        assert (await there.import_records(lines, scope=BOB)).embedded == 0
        [after] = await everything(there, BOB)
        assert after.images == before.images
        assert after.images[0].embedded
        [kept] = await there._backend.fetch(
            [after.id], reach=there._point(BOB, False, False), vectors=True
        )
        assert len(kept.parts) == 2
        [match] = await there.retrieve("a red bicycle", scope=BOB, limit=1)
        assert match.record == after
        await there.import_records(await exported(here), scope=ADA)
        [bare] = await everything(there, ADA)
    note = before.images[0]
    assert bare.images == (
        ImageNote(
            sha256=note.sha256,
            media_type="image/png",
            size=note.size,
            name="bicycle.png",
            embedded=False,
        ),
    )


async def test_a_file_claims_no_pictures_that_it_has_not() -> None:
    """A note that says its vector is there, where there is none, is refused."""
    async with (
        opened(embedder=HashingImageEmbedder()) as here,
        opened(embedder=HashingImageEmbedder()) as there,
    ):
        await here.store("plain", scope=ADA)
        [line] = [line for line in await exported(here, vectors=True) if '{"record"' in line]
        told = json.loads(line)
        note = {"sha256": "0" * 64, "media_type": "image/png", "size": 1, "embedded": True}
        told["record"]["images"] = [note]
        with pytest.raises(ImportFileError, match="pictures whose vectors it has not"):
            await there.import_records(a_file([a_record()], [told]), scope=BOB)
        del told["parts"]
        assert (await there.import_records(a_file([told]), scope=BOB)).imported == 1
        assert not [r for r in await everything(there, BOB) for n in r.images if n.embedded]
