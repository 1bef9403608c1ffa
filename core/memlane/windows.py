"""Long texts as sentence windows: a vector of the whole is near to nothing that it says."""

from __future__ import annotations

from typing import Final

from memlane.patterns import lazy

__all__ = ("clip", "windows")

SHORT: Final = 600
"""Texts up to this width are one vector: all-MiniLM reads about 256 tokens, and they fit."""

_WIDE_WIDTH: Final = 4
_SENTENCE = lazy(
    r"[^.!?\u2026\u3002\uff01\uff1f\n]*(?:[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019)\]]*\s*|\n+\s*|$)"
)
_WIDE = lazy(
    "[\u0e00-\u0eff\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\U0001f000-\U0002ffff]"
)


def _width(text: str) -> int:
    """Return characters, those of scripts with about one token a character counted fourfold."""
    if text.isascii():
        return len(text)
    return len(text) + (_WIDE_WIDTH - 1) * len(_WIDE().findall(text))


def _hard_cut(text: str, start: int, end: int, most: int) -> list[tuple[int, int]]:
    """Cut a run that is too wide: at spaces where there are some, anywhere else where not."""
    cut: list[tuple[int, int]] = []
    while start < end:
        stop, width = start, 0
        while stop < end:
            width += _width(text[stop])
            if width > most and stop > start:
                break
            stop += 1
        if stop < end:
            space = text.rfind(" ", start + (stop - start) // 2, stop)
            if space > start:
                stop = space + 1
        cut.append((start, stop))
        start = stop
    return cut


def _sentences(text: str, most: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for match in _SENTENCE().finditer(text):
        start, end = match.span()
        if start == end:
            continue
        found += (
            [(start, end)] if _width(text[start:end]) <= most else _hard_cut(text, start, end, most)
        )
    return found


def windows(text: str, *, max_chars: int, target: int = 400) -> tuple[tuple[int, int], ...]:
    """Return spans of overlapping windows of a long text, () for a short one.

    Every character that is not space lies in a window; sentences stay whole where they fit, and
    the last sentence of a window opens the next where both fit.

    Args:
        text: The text.
        max_chars: Characters an embedder takes at most.
        target: Width of a window; characters of scripts without spaces count fourfold.
    """
    if _width(text) <= min(SHORT, max_chars):
        return ()
    most = max(1, min(target, max_chars))
    sentences = [(a, b) for a, b in _sentences(text, most) if text[a:b].strip()]
    spans: list[tuple[int, int]] = []
    at = 0
    while at < len(sentences):
        start, end = sentences[at]
        width = _width(text[start:end])
        following = at + 1
        while following < len(sentences):
            more = _width(text[end : sentences[following][1]])
            if width + more > most:
                break
            width += more
            end = sentences[following][1]
            following += 1
        spans.append(_trimmed(text, start, end))
        if following >= len(sentences):
            break
        last = _width(text[sentences[following - 1][0] : sentences[following - 1][1]])
        fits = last + _width(text[sentences[following][0] : sentences[following][1]]) <= most
        # One sentence of overlap, unless that would not move on.
        at = following - 1 if following - 1 > at and fits else following
    return tuple(spans) if len(spans) > 1 else ()


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))


def clip(text: str, max_chars: int) -> str:
    """Return the beginning of a text, at most `max_chars` characters, cut between words."""
    if len(text) <= max_chars:
        return text
    space = text.rfind(" ", max_chars // 2, max_chars + 1)
    return text[: space if space > 0 else max_chars]
