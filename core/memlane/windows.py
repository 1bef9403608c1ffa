"""Long texts as sentence windows: a vector of the whole is near to nothing that it says."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, TypeAlias

from memlane.patterns import lazy

__all__ = ("around", "clip", "sentences", "windows")

SHORT: Final = 600
"""Texts up to this width are one vector: all-MiniLM reads 256 tokens, and they fit."""

TARGET: Final = 200
"""Width of a window: two or three sentences. One that holds a fact and little else is near to a
question about it; windows of 400 lost a fifth of the facts in texts of 600 words, see
`benchmarks/recall.py`."""

_PASSAGE: Final = 400

# Measured with all-MiniLM's tokenizer: tokens per character .2 to .4 in Latin scripts, .6 to .8 in
# other alphabets, 1 to 1.5 in scripts that write syllables or words.
_WIDE: Final = lazy(
    "[\u0e00-\u0eff\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
    "\U0001f000-\U0003ffff]"
)
_WIDE_WIDTH: Final = 4
_BROAD: Final = lazy("[\u0370-\u0dff\u0f00-\u10ff\u1200-\u1cff\u1f00-\u1fff]")
_BROAD_WIDTH: Final = 2

# A full stop ends a sentence before a space only, so that 3.14 and x.com stay whole; it is looked
# for once a run of stops, and what was taken is not given back: long runs cost no more than words.
_SENTENCE_END: Final = lazy(
    r"((?<![.!?\u2026])[.!?\u2026]++[\"'\u00bb\u2019\u201d)\]]*+(?=\s)"
    r"|[\u0964\u06d4\u3002\uff01\uff1f\uff61]++[\"'\u00bb\u2019\u201d\u300d\u300f)\]]*+"
    r"|\n)\s*+"
)
_STOP: Final = lazy("[.!?\u2026\u0964\u06d4\u3002\uff01\uff1f\uff61\n]")
_WORD: Final = lazy(r"\S+")
_JOINERS: Final = frozenset("\u200c\u200d")
_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)
_LOW_SURROGATES: Final = range(0xDC00, 0xE000)
_Span: TypeAlias = tuple[int, int]


def _edges(text: str) -> Sequence[int]:
    """Return how wide the text is up to each character, and at its end."""
    if text.isascii():
        return range(len(text) + 1)
    wide, broad = _WIDE(), _BROAD()
    widths = {
        char: _WIDE_WIDTH if wide.match(char) else _BROAD_WIDTH if broad.match(char) else 1
        for char in set(text)
    }
    return list(accumulate((widths[char] for char in text), initial=0))


def _joined(text: str, at: int) -> bool:
    """Say whether a cut before this character would part what is read as one."""
    char, before = text[at], text[at - 1]
    if char.isascii():
        return False
    return (
        before in _JOINERS
        or char in _JOINERS
        or ord(char) in _SKIN_TONES
        or ord(char) in _LOW_SURROGATES
        or unicodedata.category(char).startswith("M")
    )


def _cut(text: str, start: int, at: int) -> int:
    """Return where to cut, at most `at` and beyond `start`, apart from what belongs together."""
    for place in range(at, start, -1):
        if not _joined(text, place):
            return place
    return max(at, start + 1)


def _sentences(text: str, begin: int, finish: int) -> Iterable[_Span]:
    """Return the sentences of a text that neither begins nor ends with space."""
    at = begin
    stop = _STOP().search(text, begin, finish)
    if stop is None or stop.end() == finish:  # one sentence, as most memories are
        yield begin, finish
        return
    for match in _SENTENCE_END().finditer(text, begin, finish):
        end = match.end(1)
        while text[end - 1].isspace():  # before the end of a line
            end -= 1
        yield at, end
        at = match.end()
    if at < finish:
        yield at, finish


def sentences(text: str) -> Iterable[tuple[int, int]]:
    """Return the spans of a text's sentences; a line's end is one of a sentence."""
    begin, finish = len(text) - len(text.lstrip()), len(text.rstrip())
    return _sentences(text, begin, finish) if begin < finish else ()


def _pieces(text: str, sentence: _Span, edges: Sequence[int], most: int) -> Iterable[_Span]:
    """Cut a sentence that is too wide between words, and runs that are too wide anywhere."""
    at = stop = sentence[0]
    for match in _WORD().finditer(text, *sentence):
        start, end = match.span()
        if stop > at:
            if edges[end] - edges[at] <= most:
                stop = end
                continue
            room = edges[at] + most - edges[start]
            # What has to be cut anyway fills the piece that was begun, where there is room.
            if edges[end] - edges[start] <= most or room < max(most // 2, _WIDE_WIDTH):
                yield at, stop
                at = start
        else:
            at = start
        while edges[end] - edges[at] > most and end - at > 1:
            cut = bisect_right(edges, edges[at] + most, at + 1, end) - 1
            cut = _cut(text, max(at, start), max(cut, at + 1))
            yield at, cut
            at = cut
        stop = end
    if stop > at:
        yield at, stop


def windows(text: str, *, max_chars: int, target: int = TARGET) -> tuple[tuple[int, int], ...]:
    """Return spans of overlapping windows of a long text, () for a short one.

    Every character that is not space lies in a window; sentences stay whole where they fit, and
    the last sentence of a window opens the next where both fit. A window is as wide as `target`
    and `max_chars` allow, or one character that is wider.

    Args:
        text: The text.
        max_chars: Characters an embedder takes at most.
        target: Width of a window; a character counts for the tokens it costs, 1, 2 or 4.
    """
    edges = _edges(text)
    begin, finish = len(text) - len(text.lstrip()), len(text.rstrip())
    if edges[finish] - edges[min(begin, finish)] <= min(SHORT, max_chars):
        return ()
    most = max(1, min(target, max_chars))
    spans: list[_Span] = []
    opened: list[_Span] = []  # the sentences of the window that is being filled
    for sentence in _sentences(text, begin, finish):
        fits = edges[sentence[1]] - edges[sentence[0]] <= most
        for start, end in (sentence,) if fits else _pieces(text, sentence, edges, most):
            if opened and edges[end] - edges[opened[0][0]] > most:
                spans.append((opened[0][0], opened[-1][1]))
                last = opened[-1]
                # One sentence of overlap, unless that would not move on.
                again = len(opened) > 1 and edges[end] - edges[last[0]] <= most
                opened = [last] if again else []
            opened.append((start, end))
    spans.append((opened[0][0], opened[-1][1]))
    # A single window is the whole text, which has a vector already.
    return tuple(spans) if len(spans) > 1 else ()


def around(text: str, start: int, end: int, *, width: int = _PASSAGE) -> tuple[int, int]:
    """Return the span of a window with the sentences beside it, as many as fit.

    A narrow window is found best, and read best with what was said around it.

    Args:
        text: The text of the window.
        start: Where the window begins.
        end: Where it ends.
        width: Characters at most, if the window has no more.
    """
    low, high = max(0, start - width), min(len(text), end + width)
    spans = [
        (at + low, stop + low)
        for at, stop in sentences(text[low:high])
        # Cut off where the search began or ended: no whole sentence.
        if (at or not low) and (stop + low < high or high == len(text.rstrip()))
    ]
    before = [at for at, _ in spans if at < start]
    after = [stop for _, stop in spans if stop > end]
    while before or after:
        grown = (before.pop(), end) if len(before) >= len(after) else (start, after.pop(0))
        if grown[1] - grown[0] <= width:
            start, end = grown
    return start, end


def clip(text: str, max_chars: int) -> str:
    """Return the beginning of a text, at most `max_chars` characters, cut between words."""
    if len(text) <= max_chars:
        return text
    core = text.strip()
    head = core[:max_chars]
    if len(core) <= max_chars or core[max_chars].isspace() or head[-1:].isspace():
        return head.rstrip()
    words = head.rsplit(maxsplit=1)
    if len(words) > 1 and len(words[0]) >= max_chars // 2:
        return words[0]
    return core[: _cut(core, 0, max_chars)] if max_chars > 0 else ""
