"""Pictures among what is remembered: read, recognised and counted before anything is paid for."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, cast

from memlane.errors import ValidationError
from memlane.media import MAX_PICTURE_BYTES, MEDIA_TYPES, media_type_of, unseen
from memlane.runtime import WorkerThreads
from memlane.types import Image, ImageNote, NewMemory, Text

__all__ = (
    "MAX_CALL_BYTES",
    "MAX_PICTURES",
    "Illustrated",
    "Picture",
    "Pictures",
    "notes_of",
    "pictures_of",
    "unseen",
)

MAX_PICTURES: Final = 16
"""Ours: pictures of one record."""

MAX_CALL_BYTES: Final = 64_000_000
"""Ours: bytes of all the pictures of one call, which are in memory together."""

_MAX_NAME_BYTES: Final = 255
_FIRST_PRINTABLE: Final = 0x20

_FIELDS: Final = tuple(field.name for field in fields(NewMemory))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture on its way to a record.

    Args:
        note: What the record keeps of it.
        image: Its bytes for the model; None where the model sees no pictures.
    """

    note: ImageNote
    image: Image | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Illustrated(NewMemory):
    """What is to be stored, its content a text by now, and the pictures beside it."""

    pictures: tuple[Picture, ...] = ()


def pictures_of(new: NewMemory) -> tuple[Picture, ...]:
    """Return the pictures of what is to be stored."""
    return new.pictures if isinstance(new, Illustrated) else ()


def notes_of(new: NewMemory) -> tuple[ImageNote, ...]:
    """Return what a record keeps of its pictures."""
    return tuple(picture.note for picture in pictures_of(new))


class Pictures:
    """Reads the pictures of what a client is given.

    Args:
        seen: The client's embedder makes vectors of pictures.
        space: Id of its embedding space, for the warning that it does not.
    """

    def __init__(self, *, seen: bool, space: str) -> None:
        self._seen = seen
        self._space = space
        self._warned = False
        # A file may lie on a slow disk: not on the threads that rank.
        self._threads = WorkerThreads("memlane-pictures", 2)

    async def read(self, items: Iterable[NewMemory]) -> Iterable[NewMemory]:
        """Return items whose contents are texts, with their pictures beside them.

        What is neither text nor parts is left as it is: the writer refuses it.

        Raises:
            ValidationError: A part is none, a picture cannot be read, is none, is too large, or
                has nothing to be found by.
        """
        # Almost always it is a list of plain texts: that is seen without asking any class.
        if type(items) is not list:
            if isinstance(items, NewMemory) or not isinstance(items, Iterable):
                return items
            items = list(items)
        listed = cast("list[NewMemory]", items)
        plain = [type(new) is NewMemory and type(new.content) is str for new in listed]
        if all(plain):
            return listed
        listed = listed.copy()
        places = [place for place, new in enumerate(listed) if _has_parts(new)]
        room = MAX_CALL_BYTES
        for place in places:
            try:
                listed[place], room = await self._read_one(listed[place], room)
            except ValidationError as error:
                if place:
                    error.reason = f"item {place}: {error.reason}"
                raise
        return listed

    async def _read_one(self, new: NewMemory, room: int) -> tuple[NewMemory, int]:
        texts, images = _split(cast("Sequence[object]", new.content))
        caption = "\n".join(texts)
        if not images:
            return replace(new, content=caption), room
        if not self._seen and not caption.strip():
            raise ValidationError(
                f"a picture has no caption, and {self._space} embeds no pictures",
                remedy="add a Text that says what it shows, or use an embedder for pictures",
            )
        pictures = await self._threads.run(_load, images, room, self._seen)
        if not caption.strip():
            caption = "\n".join(each.note.name for each in pictures if each.note.name)
        if not caption:
            raise ValidationError(
                "a picture has neither a caption nor a name",
                remedy="add a Text that says what it shows",
            )
        if not self._seen:
            self._warn()
        given: dict[str, Any] = {name: getattr(new, name) for name in _FIELDS}
        given["content"] = caption
        left = room - sum(each.note.size for each in pictures)
        return Illustrated(**given, pictures=pictures), left

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "%s embeds no pictures: memories with pictures are found by their captions alone",
                self._space,
            )

    def close(self) -> None:
        """Let the threads end; may be called twice."""
        self._threads.close()


def _has_parts(new: object) -> bool:
    return isinstance(new, NewMemory) and isinstance(cast("object", new.content), list | tuple)


def _split(parts: Sequence[object]) -> tuple[list[str], list[Image]]:
    texts: list[str] = []
    images: list[Image] = []
    if not parts:
        raise ValidationError("content has no parts", remedy="pass a text, or a Text")
    for place, part in enumerate(parts):
        if isinstance(part, Image):
            images.append(part)
        elif isinstance(part, Text):
            words: object = part.text
            if not isinstance(words, str):
                raise ValidationError(
                    f"the Text at part {place} holds no string but {type(words).__name__}",
                    remedy="pass Text('...')",
                )
            texts.append(str.__str__(words))
        else:
            raise ValidationError(
                f"part {place} of content is no Text or Image but {type(part).__name__}",
                remedy="wrap words as Text('...') and pictures as Image(path or bytes)",
            )
    if len(images) > MAX_PICTURES:
        raise ValidationError(
            f"content has {len(images)} pictures; at most {MAX_PICTURES} are allowed",
            remedy="store them in several records",
        )
    return texts, images


def _load(images: Sequence[Image], room: int, seen: bool) -> tuple[Picture, ...]:
    """Read pictures, and stop before there are too many bytes of them."""
    pictures: list[Picture] = []
    for image in images:
        content = _content(image.source, room)
        found = _recognised(content, image.media_type)
        note = ImageNote(
            sha256=hashlib.sha256(content).hexdigest(),
            media_type=found,
            size=len(content),
            name=_name(image),
            embedded=seen,
        )
        room -= len(content)
        kept = Image(content, media_type=found, name=note.name) if seen else None
        pictures.append(Picture(note=note, image=kept))
    return tuple(pictures)


def _content(source: object, room: int) -> bytes:
    if isinstance(source, bytes):
        _check_size(len(source), room)
        return source
    if not isinstance(source, str | Path) or not str(source):
        raise ValidationError(
            f"a picture's source is neither bytes nor a path but {type(source).__name__}",
            remedy="pass Image(path) or Image(bytes)",
        )
    try:
        return _file(os.fspath(source), room)
    except (OSError, ValueError) as exc:
        if isinstance(exc, ValidationError):
            raise
        # Its name is not repeated: it may say whose picture it is.
        raise ValidationError(
            f"a picture's file cannot be read ({type(exc).__name__})",
            remedy="pass the path of a file that is there and may be read, and is no link",
        ) from exc


def _file(path: str, room: int) -> bytes:
    """Return what a plain file holds; whatever else a path names is never waited for."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if stat.S_ISLNK(os.lstat(path).st_mode):
        raise _not_plain()
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise _not_plain()
        _check_size(found.st_size, room)
        content = file.read(found.st_size + 1)
    if len(content) != found.st_size:
        raise ValidationError(
            "a picture's file changed while it was read", remedy="store it when it is written"
        )
    return content


def _not_plain() -> ValidationError:
    return ValidationError(
        "a picture's path names a link, a folder or a device",
        remedy="pass the path of a plain file, or its bytes",
    )


def _check_size(size: int, room: int) -> None:
    if size > MAX_PICTURE_BYTES:
        raise ValidationError(
            f"a picture has {size:,} bytes; at most {MAX_PICTURE_BYTES:,} are allowed",
            remedy="make it smaller",
        )
    if size > room:
        raise ValidationError(
            f"the pictures of this call have more than {MAX_CALL_BYTES:,} bytes",
            remedy="store them in several calls",
        )


def _recognised(content: bytes, said: object) -> str:
    found = media_type_of(content)
    if found is None:
        raise ValidationError(
            "a picture's bytes are no PNG, JPEG, GIF or WebP", remedy="convert it to one of them"
        )
    if said is None or said == found:
        return found
    if said not in MEDIA_TYPES:
        raise ValidationError(
            "unknown media_type of a picture",
            remedy=f"leave it out, or pass one of {', '.join(MEDIA_TYPES)}",
        )
    raise ValidationError(
        f"a picture is said to be {said}, and its bytes are {found}",
        remedy="leave media_type out, or look what was saved there",
    )


def _name(image: Image) -> str | None:
    name: object = image.name
    if name is None:
        if isinstance(image.source, bytes):
            return None
        # A file's name may be of any bytes; of a long one the end says what it is.
        own = Path(image.source).name.encode("utf-8", "replace").decode()
        return "".join(char for char in own if char.isprintable())[-_MAX_NAME_BYTES // 4 :] or None
    if not isinstance(name, str) or not name.strip():
        raise ValidationError("a picture's name is no text, or blank", remedy="leave it out")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as exc:
        raise ValidationError(
            "a picture's name holds a lone surrogate", remedy="decode it properly"
        ) from exc
    if size > _MAX_NAME_BYTES or any(ord(char) < _FIRST_PRINTABLE for char in name):
        raise ValidationError(
            f"a picture's name has more than {_MAX_NAME_BYTES} bytes, or a control character",
            remedy="shorten it",
        )
    return str.__str__(name)
