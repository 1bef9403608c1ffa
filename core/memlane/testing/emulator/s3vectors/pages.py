"""Answers that are fetched page by page, and tokens that name a place in a listing."""

from __future__ import annotations

import base64
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, cast

import orjson

from memlane.testing.emulator.s3vectors.refusals import invalid

__all__ = ("Answers", "Found", "Held", "place_of", "token_of")

_KEPT: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One vector of an answer.

    Args:
        key: Its key.
        distance: To the query's vector; None where only text was asked for.
        fused: Its fused score; None in a vector search.
        texts: Its score for each field that was searched by words.
    """

    key: str
    distance: float | None
    fused: float | None = None
    texts: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """An answer of which pages are still to be fetched.

    Args:
        asked: What the query was: the next page must ask the same [D].
        found: All of it, best first.
        start: Where the next page begins.
        until: The emulator's time after which its token is no longer taken.
    """

    asked: bytes
    found: tuple[Found, ...]
    start: int
    until: float


class Answers:
    """Answers whose next page may be asked for; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Held] = OrderedDict()

    def keep(self, held: Held) -> str:
        """Return a token for an answer's next page."""
        token = secrets.token_urlsafe(48)
        self._held[token] = held
        while len(self._held) > _KEPT:
            self._held.popitem(last=False)
        return token

    def next(self, token: str, *, asked: bytes, now: float) -> Held:
        """Return the answer a token names; the token stays good, as a page may be asked again.

        Raises:
            AwsError: The token is not ours, too old, or another query's; the words are ours.
        """
        held = self._held.get(token)
        if held is None or now > held.until or held.asked != asked:
            raise invalid("Invalid nextToken", "nextToken")
        return held

    def clear(self) -> None:
        """Forget all answers."""
        self._held.clear()


def token_of(*place: object) -> str:
    """Return a token that names a place in a listing."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def place_of(token: str | None, *kinds: type) -> tuple[object, ...] | None:
    """Return the place a token names; None for the beginning.

    Raises:
        AwsError: It is no token of such a listing.
    """
    if token is None:
        return None
    try:
        read = orjson.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        read = None
    place = tuple(cast("list[object]", read)) if isinstance(read, list) else ()
    if [type(each) for each in place] != list(kinds):
        raise invalid("Invalid nextToken", "nextToken")
    return place
