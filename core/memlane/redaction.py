"""What must not be kept is taken out before anything is embedded, stored or queued."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias, cast

from anyio.lowlevel import checkpoint

from memlane.errors import BackendError, MemlaneError, RedactedError, ValidationError
from memlane.images import Illustrated, Picture
from memlane.metering import current
from memlane.protocols import Redactor
from memlane.receipts import Finding, Redaction
from memlane.sizing import MAX_PAYLOAD_BYTES, check_metadata, check_tags, check_text
from memlane.types import MetadataValue, NewMemory

__all__ = ("Redacting",)

_Many: TypeAlias = "tuple[object, ...]"
_LONG: Final = 10**6  # seven digits: no telephone number has fewer
_LONGEST: Final = 10**20
_TURN_CHARS: Final = 2_000  # are looked through in half a millisecond
_KEY_CHARS: Final = 64  # shown with each value: a key may be long, and have many
_REMEDY: Final = "correct the redactor; nothing was embedded or stored"


class Redacting:
    """Lets a redactor see all that a client is given.

    Args:
        redactor: None takes nothing out.

    Raises:
        ValidationError: This is no redactor.
    """

    def __init__(self, redactor: Redactor | None) -> None:
        if redactor is not None and not callable(getattr(redactor, "redact", None)):
            raise ValidationError(
                f"redactor must have a method redact, which {type(redactor).__name__} has not",
                remedy="pass RegexRedactor(), or leave it out",
            )
        self._redactor = redactor

    async def new_memories(self, items: Iterable[NewMemory]) -> Iterable[NewMemory]:
        """Return items as they may be stored; their contents are texts.

        Raises:
            RedactedError: One holds what may not be kept at all.
            ValidationError: Metadata, tags or a text cannot be stored anyway.
            BackendError: The redactor failed, or answered something else than a redaction.
        """
        if self._redactor is None:
            return items
        if isinstance(items, NewMemory) or not isinstance(items, Iterable):
            return items  # refused by the writer, in its words
        allowed: list[NewMemory] = []
        for place, new in enumerate(items):
            try:
                allowed.append(await self._allowed(self._redactor, new))
            except ValidationError as error:
                if place:
                    error.reason = f"item {place}: {error.reason}"
                raise
            # Looking through a text takes its time; others have their turn between two.
            await checkpoint()
        return allowed

    async def changes(self, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the changes of an update as they may be stored.

        What a redactor wants the record to be labelled with is there as `labels`, if only that it
        wants nothing.

        Raises:
            As `new_memories` does.
        """
        if self._redactor is None:
            return changes
        seen = _Seen(self._redactor)
        allowed = {**changes}
        if "text" in changes:
            allowed["text"] = await seen.words(check_text(changes["text"]))
        if changes.get("metadata") is not None:
            allowed["metadata"] = await seen.metadata(changes["metadata"])
        if "tags" in changes:
            allowed["tags"] = await seen.tags(changes["tags"])
        allowed["labels"] = tuple(seen.labels)
        return allowed

    async def query(self, text: str) -> str:
        """Return a query as it may be embedded.

        Raises:
            RedactedError: It holds what may not be asked.
            BackendError: The redactor failed, or answered something else than a redaction.
        """
        if self._redactor is None:
            return text
        return await _Seen(self._redactor).words(text, name="query")

    async def _allowed(self, redactor: Redactor, new: NewMemory) -> NewMemory:
        if not isinstance(cast("object", new), NewMemory):
            return new  # refused by the writer, in its words
        seen = _Seen(redactor)
        fields: dict[str, Any] = {"content": await seen.words(check_text(new.content))}
        if new.metadata is not None:
            fields["metadata"] = await seen.metadata(new.metadata)
        tags = await seen.tags(new.tags)
        if isinstance(new, Illustrated):
            named = [await seen.picture(picture) for picture in new.pictures]
            fields["pictures"] = tuple(named)
        return replace(new, **fields, tags=(*tags, *seen.labels))


class _Seen:
    """What a redactor saw of one memory: the same words are shown to it once."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._known: dict[str, str] = {}
        self._looked = 0
        self.labels: dict[str, None] = {}

    async def words(self, text: str, *, name: str = "content") -> str:
        """Return a text as it may be kept; never an empty one."""
        allowed = await self._text(text)
        if not allowed or allowed.isspace():
            raise RedactedError(
                f"nothing of the {name} may be kept", remedy="leave it out, or say it otherwise"
            )
        return allowed

    async def metadata(self, given: Mapping[str, MetadataValue]) -> Mapping[str, MetadataValue]:
        """Return metadata as it may be kept, keys too."""
        found = await self._value(check_metadata(given))
        return cast("Mapping[str, MetadataValue]", found)

    async def tags(self, given: Sequence[str]) -> tuple[str, ...]:
        """Return tags as they may be kept; none that became blank."""
        found = [await self._text(tag) for tag in check_tags(given)]
        return tuple(tag for tag in found if tag and not tag.isspace())

    async def picture(self, picture: Picture) -> Picture:
        """Return a picture under a name that may be kept."""
        name = picture.note.name
        if name is None:
            return picture
        allowed = await self._text(name) or None
        image = picture.image and replace(picture.image, name=allowed)
        return Picture(note=replace(picture.note, name=allowed), image=image)

    async def _value(self, value: MetadataValue, key: str = "") -> MetadataValue:
        """Return a value as it may be kept; `key` is the nearest one, as it may be kept."""
        if isinstance(value, str):
            return await self._under(key, value)
        if isinstance(value, Mapping):
            found: dict[str, MetadataValue] = {}
            for name, each in value.items():
                allowed = await self._text(name)
                found[allowed] = await self._value(each, allowed)
            if len(found) < len(value):
                raise RedactedError(
                    "two keys of the metadata are one when they are redacted",
                    remedy="name keys by what they are, and put what is private into values",
                )
            return found
        if isinstance(value, Sequence):
            return [await self._value(each, key) for each in value]
        if isinstance(value, int | float) and _is_long(value):
            shown = str(abs(int(value)))
            kept = await self._under(key, shown)
            return value if kept == shown else kept
        return value

    async def _under(self, key: str, text: str) -> str:
        """Return a text as it may be kept under a key, which is shown as a text would say it."""
        if not text or not key:
            return await self._text(text)
        prefix = f"{key[-_KEY_CHARS:]}: "
        allowed = await self._text(prefix + text)
        if allowed.startswith(prefix):
            return allowed[len(prefix) :]
        # Key and value may be taken out together; what stands there instead is the value.
        return "" if allowed == prefix.rstrip() else allowed

    async def _text(self, text: str) -> str:
        if not text:
            return text
        if (known := self._known.get(text)) is not None:
            return known
        try:
            answer: object = await self._redactor.redact(text)
        except MemlaneError:
            raise
        except Exception as exc:
            # Its message is not ours to repeat: it may quote what was to be taken out.
            raise BackendError(
                f"the redactor failed with {type(exc).__name__}",
                remedy="look at the error that caused this one; nothing was embedded or stored",
            ) from exc
        redaction = _checked(answer)
        self.labels |= dict.fromkeys(redaction.tags)
        if (meter := current()) is not None:
            for finding in redaction.findings:
                meter.redaction(finding.kind)
        self._known[text] = redaction.text
        self._looked += len(text)
        if self._looked > _TURN_CHARS:
            # Metadata may have thousands of values; others have their turn between them.
            self._looked = 0
            await checkpoint()
        return redaction.text


def _is_long(value: float) -> bool:
    """Say whether a number is whole and has as many digits as what must not be kept may have."""
    return _LONG <= abs(value) < _LONGEST and value == int(value)


def _checked(answer: object) -> Redaction:
    """Return what a redactor answered, when that is a redaction and no larger than a text.

    Raises:
        BackendError: It is something else.
    """
    if not isinstance(answer, Redaction):
        raise BackendError(
            f"the redactor answered {type(answer).__name__} and no Redaction", remedy=_REMEDY
        )
    text, findings, tags = _fields(answer)
    if not isinstance(text, str) or len(text) > MAX_PAYLOAD_BYTES:
        raise BackendError(
            f"the redactor answered no text of at most {MAX_PAYLOAD_BYTES:,} bytes", remedy=_REMEDY
        )
    if not isinstance(findings, tuple) or not all(map(_is_finding, cast("_Many", findings))):
        raise BackendError("the redactor answered findings that are none", remedy=_REMEDY)
    try:
        labels = check_tags(cast("Sequence[str]", tags))
    except ValidationError as exc:
        raise BackendError("the redactor answered tags that are none", remedy=_REMEDY) from exc
    return replace(answer, tags=labels)


def _fields(answer: Redaction) -> tuple[object, object, object]:
    return answer.text, answer.findings, answer.tags


def _is_finding(found: object) -> bool:
    return isinstance(found, Finding) and isinstance(cast("object", found.kind), str)
