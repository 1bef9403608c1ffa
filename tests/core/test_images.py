"""Pictures beside texts: read without waiting, recognised, counted, and found by what they show."""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from memlane import (
    BackendError,
    ConflictError,
    EmbeddingSpaceError,
    Image,
    ImageNote,
    MemoryClient,
    NewMemory,
    Scope,
    Text,
    ValidationError,
)
from memlane.images import MAX_CALL_BYTES, MAX_PICTURES
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.media import MAX_PICTURE_BYTES, media_type_of
from memlane.protocols import Vector
from memlane.scope import Reach
from memlane.testing import FakeClock, HashingEmbedder, HashingImageEmbedder, gif, png

ADA = Scope("ada", tenant="acme")
BICYCLE = png("a red bicycle leaning on a brick wall")
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9"
WEBP = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0"


@pytest.fixture
def seeing() -> HashingImageEmbedder:
    """A model that sees pictures."""
    return HashingImageEmbedder()


@pytest.fixture(params=["memory", "sqlite"])
async def backend(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[InMemoryBackend | SqliteBackend]:
    """Both local ones."""
    opened: InMemoryBackend | SqliteBackend = (
        InMemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "memory.db")
    )
    yield opened
    await opened.aclose()


@pytest.fixture
async def client(
    backend: InMemoryBackend | SqliteBackend, seeing: HashingImageEmbedder, clock: FakeClock
) -> AsyncIterator[MemoryClient]:
    """A client that sees pictures."""
    async with MemoryClient(backend=backend, embedder=seeing, clock=clock) as opened:
        yield opened


@pytest.fixture
async def blind(embedder: HashingEmbedder, clock: FakeClock) -> AsyncIterator[MemoryClient]:
    """A client that does not."""
    async with MemoryClient(backend=InMemoryBackend(), embedder=embedder, clock=clock) as opened:
        yield opened


def note(content: bytes, media_type: str, name: str | None = None, **more: Any) -> ImageNote:
    digest = hashlib.sha256(content).hexdigest()
    return ImageNote(sha256=digest, media_type=media_type, size=len(content), name=name, **more)


async def parts(client: MemoryClient, backend: Any, record_id: str) -> Any:
    reach = Reach.whole(ADA, now=cast("Any", client)._clock.now())
    [found] = await backend.fetch([record_id], reach=reach, vectors=True)
    return found.parts


async def test_a_picture_is_found_by_what_it_shows(
    client: MemoryClient, backend: InMemoryBackend | SqliteBackend, tmp_path: Path
) -> None:
    """Its words are in no text: its vector finds it; path and bytes alike, kept as a note."""
    path = tmp_path / "wall.png"
    path.write_bytes(BICYCLE)
    for other in ("the invoice was paid in March", "deploy the database", "thunder and dogs"):
        await client.store(other, scope=ADA)
    stored = await client.store([Text("From the holidays"), Image(path)], scope=ADA)
    again = await client.store([Image(BICYCLE), Text("Twice")], scope=ADA, namespace="/b/")
    assert stored.text == "From the holidays"
    assert stored.images == (note(BICYCLE, "image/png", "wall.png"),)
    assert again.images == (note(BICYCLE, "image/png"),)
    found = await client.retrieve("a red bicycle", scope=ADA, limit=2, mode="vector")
    assert {match.record.id for match in found} == {stored.id, again.id}
    assert found[0].similarity is not None
    assert found[0].similarity > 0.5
    assert {match.passage for match in found} == {"From the holidays", "Twice"}
    assert (await client.retrieve("From the holidays", scope=ADA))[0].record == stored
    whole, picture = await parts(client, backend, stored.id)
    assert (picture.start, picture.end) == (0, len(stored.text))
    assert (picture.terms == whole.terms).all()
    assert await client.get(stored.id, scope=ADA) == stored


async def test_long_captions_and_several_pictures(
    client: MemoryClient, backend: InMemoryBackend | SqliteBackend, seeing: HashingImageEmbedder
) -> None:
    """Windows of the text come first, pictures last and in order."""
    words = " ".join(f"Sentence {n} says something of its own." for n in range(60))
    images = [png("one"), gif("two"), JPEG, WEBP]
    parts_: list[Text | Image] = [Text(words), *map(Image, images), Text("The end.")]
    stored = await client.store(parts_, scope=ADA)
    assert stored.text == f"{words}\nThe end."
    types = ["image/png", "image/gif", "image/jpeg", "image/webp"]
    assert stored.images == tuple(map(note, images, types))
    found = await parts(client, backend, stored.id)
    assert len(found) > 4 + 4
    expected = await seeing.embed_images([Image(image) for image in images])
    for part, row in zip(found[-4:], expected, strict=True):
        np.testing.assert_allclose(part.vector, row, atol=1e-3)
        assert (part.start, part.end) == (0, len(stored.text))


async def test_many_pictures_are_shown_a_few_at_a_time(
    client: MemoryClient, seeing: HashingImageEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call for many records asks the model for sixteen pictures at most, in order."""
    sizes: list[int] = []
    embed = seeing.embed_images

    async def counted(images: Sequence[Image]) -> Vector:
        sizes.append(len(images))
        return await embed(images)

    monkeypatch.setattr(seeing, "embed_images", counted)
    pictures = [png(f"picture {n}") for n in range(40)]
    items = [
        NewMemory(content=[Text(f"caption {n}"), *map(Image, pictures[at : at + 4])])
        for n, at in enumerate(range(0, 40, 4))
    ]
    await client.store_many(items, scope=ADA)
    assert sizes == [16, 16, 8]
    assert [image.source for image in seeing.seen] == pictures
    receipt = client.last_receipt()
    assert receipt is not None
    assert receipt.embedded == 10 + 40


async def test_texts_alone_are_one_text(client: MemoryClient) -> None:
    """Parts that are words are joined by lines; a plain text is what it was."""
    joined = await client.store([Text("one"), Text("two")], scope=ADA)
    assert (joined.text, joined.images) == ("one\ntwo", ())
    assert (await client.store("plain", scope=ADA)).images == ()
    items = [NewMemory(content=[Text("one")]), NewMemory(content="two")]
    for given in (items, tuple(items), iter(items)):
        stored = await client.store_many(given, scope=ADA)
        assert [record.text for record in stored] == ["one", "two"]
    assert items[0].content == [Text("one")]


async def test_an_update_keeps_the_pictures(
    client: MemoryClient, backend: InMemoryBackend | SqliteBackend
) -> None:
    """A new text stands beside the same pictures: they are found as before."""
    stored = await client.store([Text("Old words"), Image(BICYCLE)], scope=ADA)
    before = await parts(client, backend, stored.id)
    changed = await client.update(stored.id, scope=ADA, text="Quite other words, and more of them")
    assert changed.images == stored.images
    after = await parts(client, backend, stored.id)
    assert len(after) == 2
    np.testing.assert_allclose(after[1].vector, before[1].vector, atol=1e-3)
    assert not np.allclose(after[0].vector, before[0].vector, atol=1e-2)
    assert (after[1].start, after[1].end) == (0, len(changed.text))
    [match] = await client.retrieve("red bicycle", scope=ADA, mode="vector", limit=1)
    assert match.record == changed
    tagged = await client.update(stored.id, scope=ADA, tags=["x"])
    assert len(await parts(client, backend, stored.id)) == 2
    assert tagged.images == stored.images


async def test_another_space_has_no_vectors_of_pictures(
    client: MemoryClient, backend: InMemoryBackend | SqliteBackend
) -> None:
    """Their bytes are gone: after reembedding the words find the record, and the notes say so."""
    stored = await client.store([Text("From the holidays"), Image(BICYCLE)], scope=ADA)
    other = HashingImageEmbedder(128)
    await client.admin("acme").reembed(other)
    async with MemoryClient(backend=backend, embedder=other) as after:
        found = await after.get(stored.id, scope=ADA)
        assert found.images == (note(BICYCLE, "image/png", embedded=False),)
        assert len(await parts(after, backend, stored.id)) == 1
        changed = await after.update(stored.id, scope=ADA, text="From the sea")
        assert changed.images == found.images
        assert len(await parts(after, backend, stored.id)) == 1


async def test_a_name_stands_in_for_a_caption(client: MemoryClient, tmp_path: Path) -> None:
    """Where the model sees pictures, one without words is kept under what it is called."""
    path = tmp_path / "red bicycle.png"
    path.write_bytes(BICYCLE)
    stored = await client.store([Image(path), Image(JPEG, name="Rex")], scope=ADA)
    assert stored.text == "red bicycle.png\nRex"
    with pytest.raises(ValidationError, match="neither a caption nor a name"):
        await client.store([Image(BICYCLE), Text("  ")], scope=ADA)


async def test_captions_alone(blind: MemoryClient, caplog: pytest.LogCaptureFixture) -> None:
    """A model of texts keeps pictures by their captions, and this is said."""
    with caplog.at_level(logging.WARNING):
        await blind.store([Text("Rex in the sun"), Image(BICYCLE)], scope=ADA)
        stored = await blind.store([Text("Rex in the snow"), Image(BICYCLE)], scope=ADA)
    assert stored.images == (note(BICYCLE, "image/png", embedded=False),)
    assert [record.getMessage() for record in caplog.records if "captions" in record.message] == [
        "hashing:64 embeds no pictures: memories with pictures are found by their captions alone"
    ]
    [match, *_] = await blind.retrieve("snow", scope=ADA)
    assert match.record.text == "Rex in the snow"
    changed = await blind.update(stored.id, scope=ADA, text="Rex in the rain")
    assert changed.images == stored.images
    wordless: list[list[Text | Image]] = [
        [Image(BICYCLE, name="Rex")],
        [Image(BICYCLE), Text(" ")],
    ]
    for content in wordless:
        with pytest.raises(ValidationError, match="no caption") as caught:
            await blind.store(content, scope=ADA)
        assert "add a Text" in str(caught.value)


async def test_the_same_event_has_the_same_pictures(client: MemoryClient) -> None:
    """An idempotency key stands for words and pictures."""
    content: list[Text | Image] = [Text("Rex"), Image(BICYCLE)]
    first = await client.store(content, scope=ADA, idempotency_key="k")
    assert await client.store(content, scope=ADA, idempotency_key="k") == first
    for other in ([Text("Rex"), Image(png("another"))], "Rex", [Text("Max"), Image(BICYCLE)]):
        with pytest.raises(ConflictError, match="another content"):
            await client.store(cast("Any", other), scope=ADA, idempotency_key="k")
    twice = [
        NewMemory(content=[Text("a"), Image(each)], idempotency_key="j") for each in (JPEG, WEBP)
    ]
    with pytest.raises(ConflictError):
        await client.store_many(twice, scope=ADA)


BAD: dict[str, tuple[list[Any], str]] = {
    "no parts": ([], "no parts"),
    "a string among them": (["words", Image(BICYCLE)], "part 0 of content is no Text or Image"),
    "no text in a text": ([Text(cast("Any", 5))], "holds no string"),
    "bytes that are none": ([Text("x"), Image(b"hello")], "no PNG, JPEG, GIF or WebP"),
    "no bytes": ([Text("x"), Image(b"")], "no PNG"),
    "no source": ([Text("x"), Image(cast("Any", None))], "neither bytes nor a path"),
    "an empty path": ([Text("x"), Image("")], "neither bytes nor a path"),
    "a path with a nul": ([Text("x"), Image("a\0b")], "cannot be read"),
    "another type": ([Text("x"), Image(BICYCLE, media_type="image/jpeg")], "its bytes are"),
    "no known type": ([Text("x"), Image(BICYCLE, media_type="image/bmp")], "unknown media_type"),
    "a blank name": ([Text("x"), Image(BICYCLE, name=" ")], "blank"),
    "a long name": ([Text("x"), Image(BICYCLE, name="n" * 256)], "255 bytes"),
    "a line in a name": ([Text("x"), Image(BICYCLE, name="a\nb")], "control character"),
    "half a name": ([Text("x"), Image(BICYCLE, name="\ud800")], "lone surrogate"),
    "too many": ([Text("x"), *[Image(BICYCLE)] * (MAX_PICTURES + 1)], "17 pictures"),
    "too large": ([Text("x"), Image(BICYCLE + bytes(MAX_PICTURE_BYTES))], "at most 18,000,000"),
    "too much": (
        [Text("x"), *[Image(BICYCLE + bytes(MAX_PICTURE_BYTES - 500))] * 4],
        "64,000,000 bytes",
    ),
    "a long caption": ([Text("x" * 20_000), Text("x" * 20_000), Image(BICYCLE)], "32,768"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
async def test_refused(
    client: MemoryClient,
    blind: MemoryClient,
    seeing: HashingImageEmbedder,
    content: list[Any],
    words: str,
) -> None:
    """What is no picture, or too much of it, is refused before anything is embedded or stored."""
    for tried in (client, blind):
        with pytest.raises(ValidationError, match=words) as caught:
            await tried.store(content, scope=ADA)
        assert caught.value.remedy
        with pytest.raises(ValidationError, match=f"item 1: .*{words}"):
            await tried.store_many(
                [NewMemory(content="fine"), NewMemory(content=content)], scope=ADA
            )
        assert await tried.count(scope=ADA) == 0
    assert seeing.calls == 0
    assert seeing.seen == []


async def test_bytes_of_all_records_of_a_call_are_counted(client: MemoryClient) -> None:
    """They are in memory together, in however many records they are."""
    large = Image(BICYCLE + bytes(MAX_PICTURE_BYTES - 500))
    items = [NewMemory(content=[Text("x"), large]) for _ in range(4)]
    with pytest.raises(ValidationError, match=r"item 3: .*64,000,000"):
        await client.store_many(items, scope=ADA)


async def test_paths_that_are_no_plain_files(client: MemoryClient, tmp_path: Path) -> None:
    """Links, folders, pipes and devices are refused at once, and nothing is waited for."""
    (tmp_path / "real.png").write_bytes(BICYCLE)
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "link.png", tmp_path / "pipe.png", "/dev/zero", "/dev/stdin"):
        with pytest.raises(ValidationError, match=r"a folder or a device|cannot be read"):
            await client.store([Text("x"), Image(path)], scope=ADA)
    with pytest.raises(ValidationError, match="FileNotFoundError") as caught:
        await client.store([Text("x"), Image(tmp_path / "secret name.png")], scope=ADA)
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


async def test_large_files_are_not_read(client: MemoryClient, tmp_path: Path) -> None:
    """A file's size is looked at before its bytes: one of a terabyte costs nothing."""
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.write(BICYCLE)
        file.truncate(2**40)
    with pytest.raises(ValidationError, match="at most 18,000,000"):
        await client.store([Text("x"), Image(path)], scope=ADA)


async def test_names_of_files(client: MemoryClient, tmp_path: Path) -> None:
    """Any name a file can have is kept as text, of a long one its end."""
    raw = os.fsencode(tmp_path) + b"/caf\xe9\n.png"
    with open(raw, "wb") as file:  # noqa: ASYNC230, PTH123 - a name of bytes
        file.write(BICYCLE)
    stored = await client.store([Text("x"), Image(os.fsdecode(raw))], scope=ADA)
    assert stored.images[0].name == "caf?.png"
    long = tmp_path / ("n" * 240 + ".png")
    long.write_bytes(BICYCLE)
    name = (await client.store([Text("x"), Image(str(long))], scope=ADA)).images[0].name
    assert name is not None
    assert name.endswith("nnn.png")
    assert len(name.encode()) <= 255


class Odd(HashingImageEmbedder):
    """Answers to order."""

    answer: Any = None

    async def embed_images(self, images: Any) -> Vector:
        del images
        if isinstance(self.answer, Exception):
            raise self.answer
        return cast("Vector", self.answer)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (np.zeros((1, 64), np.float32), EmbeddingSpaceError),
        (np.ones((2, 64), np.float32), EmbeddingSpaceError),
        (np.ones((1, 63), np.float32), EmbeddingSpaceError),
        (np.full((1, 64), np.nan, np.float32), EmbeddingSpaceError),
        ("no array", EmbeddingSpaceError),
        (RuntimeError("a red bicycle"), BackendError),
        (ValidationError("too blurred"), ValidationError),
    ],
)
async def test_a_model_that_answers_something_else(
    clock: FakeClock, answer: Any, expected: type[Exception]
) -> None:
    """Vectors of pictures are checked as those of texts are, and nothing is stored."""
    embedder = Odd()
    embedder.answer = answer
    async with MemoryClient(backend=InMemoryBackend(), embedder=embedder, clock=clock) as client:
        with pytest.raises(expected) as caught:
            await client.store([Text("x"), Image(BICYCLE)], scope=ADA)
        assert "bicycle" not in str(caught.value)
        assert await client.count(scope=ADA) == 0


def test_how_pictures_begin() -> None:
    """Each format is told by its first bytes; a sound in the same container is no picture."""
    wave = struct.pack("<4sI4s", b"RIFF", 4, b"WAVE")
    found = [media_type_of(each) for each in (BICYCLE, JPEG, gif(), WEBP, wave, b"", b"RIFF")]
    known = ["image/png", "image/jpeg", "image/gif", "image/webp"]
    assert found == [*known, None, None, None]


def test_a_call_holds_several_of_the_largest() -> None:
    """The bounds fit each other and what Bedrock takes."""
    assert MAX_PICTURE_BYTES * 4 // 3 + 1_000 < 25_000_000
    assert MAX_CALL_BYTES >= 3 * MAX_PICTURE_BYTES
