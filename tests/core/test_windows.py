"""Windows hold all of a long text, in pieces a model reads whole."""

from __future__ import annotations

import time
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.windows import around, clip, sentences, windows

QUICK = settings(deadline=None, max_examples=100)

# Characters whose width is beyond doubt, so that the test counts them apart from the code.
NARROW, BROAD, WIDE = "abcXYZ019éß-'\"(),", "дяЖωאבسक", "日本語記憶がカ한국😀"
SPACES = " \n\t\u3000\u00a0"
ENDS = ".!?…。！？"


def width(text: str) -> int:
    return sum(4 if char in f"{WIDE}。！？\u3000" else 2 if char in BROAD else 1 for char in text)


some_sentences = st.builds(
    lambda body, end, space: f"{body}{end}{space}",
    st.text(f"{NARROW}{BROAD}{WIDE} ", max_size=160),
    st.sampled_from([*ENDS, "", "...", '."', "?!"]),
    st.sampled_from([" ", "\n", "  ", "\n\n", ""]),
)
long_texts = st.lists(some_sentences, min_size=1, max_size=40).map("".join)
any_texts = (
    long_texts | st.text(f"{NARROW}{WIDE}{SPACES}{ENDS}", max_size=300) | st.text(max_size=300)
)
targets = st.sampled_from([1, 3, 8, 40, 100, 400])


@QUICK
@given(any_texts, targets, st.integers(1, 1_500))
def test_windows_hold_every_character_in_order(text: str, target: int, max_chars: int) -> None:
    """No character but space is left out; windows begin and end with words and move on."""
    spans = windows(text, max_chars=max_chars, target=target)
    assert spans == windows(text, max_chars=max_chars, target=target)
    if not spans:
        assert len(text.strip()) <= max(600, target)
        return
    assert len(spans) > 1
    held = {at for start, end in spans for at in range(start, end)}
    assert all(at in held for at, char in enumerate(text) if not char.isspace())
    for start, end in spans:
        assert 0 <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start < next_start
        assert end < next_end


@QUICK
@given(
    st.lists(st.text(f"{NARROW}{BROAD}{WIDE}{SPACES}{ENDS}", max_size=200), max_size=20).map(
        "".join
    ),
    targets,
    st.integers(1, 1_500),
)
def test_windows_are_as_wide_as_is_asked_for(text: str, target: int, max_chars: int) -> None:
    """Wide characters count 4 and those of other alphabets 2; one alone may be too wide."""
    spans = windows(text, max_chars=max_chars, target=target)
    for start, end in spans:
        assert width(text[start:end]) <= min(target, max_chars) or end - start == 1
    if width(text.strip()) > max(600, target, max_chars):
        assert spans


@QUICK
@given(st.lists(st.integers(1, 130), min_size=20, max_size=80), st.sampled_from([". ", "! ", "\n"]))
def test_sentences_stay_whole_and_neighbours_share_one(lengths: list[int], end: str) -> None:
    """Short sentences lie in a window each, and a window's last is the next one's first."""
    text = "".join("w" * length + end for length in lengths)
    spans = windows(text, max_chars=10_000, target=400)
    borders: list[tuple[int, int]] = []
    at = 0
    for length in lengths:
        borders.append((at, at + length + len(end.strip())))
        at += length + len(end)
    if not spans:
        assert len(text.strip()) <= 600
        return
    for start, stop in borders:
        assert any(first <= start and stop <= last for first, last in spans)
    begins, ends = {start for start, _ in borders}, {stop for _, stop in borders}
    assert all(start in begins and stop in ends for start, stop in spans)
    for (_, stop), (start, _) in pairwise(spans):
        assert (start, stop) in borders


def test_short_texts_have_no_windows() -> None:
    """Up to 600 narrow characters, 150 wide ones, and whatever space is around them."""
    for text in ("", " ", "a" * 600, "日" * 150, "д" * 300, " " * 5_000 + "word" + "\n" * 5_000):
        assert windows(text, max_chars=10_000) == ()
    for text in ("a" * 601, "日" * 151, "д" * 301, "a" + " " * 600 + "b"):
        assert len(windows(text, max_chars=10_000)) > 1
    assert len(windows("a b " * 50, max_chars=100)) > 1
    assert windows("a" * 700, max_chars=10_000, target=1_000) == ()


def test_full_stops_inside_words_end_no_sentence() -> None:
    """Numbers, sites and versions stay whole, as does what stands in quotes."""
    sentence = 'Version 3.14 of x.com is out, "really?" he said (twice.) '
    text = sentence * 20
    begins = {0, len(sentence) - len("he said (twice.) ")}
    for start, end in windows(text, max_chars=1_000):
        assert start % len(sentence) in begins
        assert (end + 1) % len(sentence) in begins


def test_scripts_without_spaces_have_sentences() -> None:
    """A full stop of theirs needs no space after it."""
    sentence = "記憶はとても大切です。"
    text = sentence * 40
    spans = windows(text, max_chars=1_000, target=400)
    assert all(start % len(sentence) == 0 == end % len(sentence) for start, end in spans)
    assert {end - start for start, end in spans[:-1]} == {99}


def test_a_long_sentence_is_cut_between_words() -> None:
    """And a run without a space where it must be, filling the window that was begun."""
    text = "word " * 400
    spans = windows(text, max_chars=1_000, target=400)
    assert all(text[start:end].split() == ["word"] * 80 for start, end in spans[:-1])
    text = "see " + "x" * 1_000 + " and so on"
    assert [text[start:end] for start, end in windows(text, max_chars=1_000, target=400)] == [
        "see " + "x" * 396,
        "x" * 400,
        "x" * 204 + " and so on",
    ]
    text = "a " * 150 + "y" * 390 + " b" * 150
    assert any(
        "y" * 390 in text[start:end] for start, end in windows(text, max_chars=1_000, target=400)
    )


CLUSTERS = [
    "e\u0301",
    "a\u0308\u0323",
    "क\u093f",
    "❤\ufe0f",
    "\U0001f44d\U0001f3fd",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\ud83d\ude00",
]


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("before", ["", "z", "zz", "zzz"])
def test_what_is_read_as_one_is_not_parted(cluster: str, before: str) -> None:
    """Accents, vowel signs, skin tones, families and halves of surrogate pairs."""
    text = before + cluster * 500
    for start, end in windows(text, max_chars=1_000):
        assert text[start:end].removeprefix(before).count(cluster) * len(cluster) in {
            end - start,
            end - start - len(before),
        }
    for size in range(20, 30):
        cut = clip(text, size)
        assert size - len(cluster) < len(cut) <= size
        assert (len(cut) - len(before)) % len(cluster) == 0


def test_accents_without_end_are_cut_all_the_same() -> None:
    """One letter under ten thousand accents has no border to cut at."""
    text = "e" + "\u0301" * 10_000
    spans = windows(text, max_chars=1_000)
    assert spans[-1][1] == len(text)
    assert all(end - start <= 400 for start, end in spans)


SIZE = 32 * 1024
HOSTILE = {
    "one run": "x" * SIZE,
    "short sentences": "a. " * (SIZE // 3),
    "stops": "." * SIZE + "x",
    "stops and quotes": ".\"'" * (SIZE // 3),
    "quotes": "." + '"' * SIZE + "x",
    "lines": "\n" * SIZE + "x",
    "line ends": "x \n " * (SIZE // 4),
    "spaces": "x" + " " * SIZE + "x",
    "words": "word " * (SIZE // 5),
    "wide": "記憶は大切です。" * (SIZE // 24),
    "wide run": "記" * (SIZE // 3),
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467" * (SIZE // 18),
    "accents": "e" + "\u0301" * (SIZE // 2),
    "mixed": "日本 hello. é " * (SIZE // 18),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_takes_long(name: str) -> None:
    """32 KiB of anything takes milliseconds; what grew with the square would take many seconds."""
    before = time.process_time()
    windows(HOSTILE[name], max_chars=1_000)
    clip(HOSTILE[name], 1_000)
    assert time.process_time() - before < 0.5


@QUICK
@given(any_texts, st.integers(1, 700))
def test_clip_keeps_the_beginning(text: str, max_chars: int) -> None:
    """A short text as it is, a long one's first words, never nothing of something."""
    clipped = clip(text, max_chars)
    assert len(clipped) <= max_chars
    if len(text) <= max_chars:
        assert clipped == text
    else:
        assert text.strip().startswith(clipped)
        assert bool(clipped) is bool(text.strip())
        assert clipped == clipped.strip()


def test_clip_cuts_between_words() -> None:
    """At the last space that leaves at least half, else within the word."""
    assert clip("one two three", 13) == "one two three"
    assert clip("one two three", 12) == "one two"
    assert clip("one two three", 8) == "one two"
    assert clip("one two three", 7) == "one two"
    assert clip("one " + "x" * 40, 20) == "one " + "x" * 16
    assert clip("x" * 40, 20) == "x" * 20
    assert clip("  " * 40 + "word", 20) == "word"
    assert clip("two\nlines", 5) == "two"
    assert unicodedata.normalize("NFC", clip("e\u0301" * 10, 5)) == "éé"


@QUICK
@given(st.lists(st.integers(1, 130), min_size=20, max_size=60), st.integers(1, 600), st.data())
def test_around_a_window_are_whole_sentences(
    lengths: list[int], width: int, data: st.DataObject
) -> None:
    """A window grows by the sentences beside it, on both sides, and no further than told."""
    text = " ".join("w" * length + "." for length in lengths)
    spans = list(sentences(text))
    at = data.draw(st.integers(0, len(spans) - 1))
    start, end = around(text, *spans[at], width=width)
    assert start <= spans[at][0] < spans[at][1] <= end
    assert end - start <= max(width, spans[at][1] - spans[at][0])
    assert start in {begin for begin, _ in spans}
    assert end in {stop for _, stop in spans}
    # No sentence beside it would have fitted too.
    before = [begin for begin, _ in spans if begin < start]
    after = [stop for _, stop in spans if stop > end]
    assert not before or end - before[-1] > width
    assert not after or after[0] - start > width


def test_sentences() -> None:
    """Of nothing there are none; a line is one; space around them is nobody's."""
    assert list(sentences(" \n ")) == []
    text = " One. Two!\nThree  "
    assert [text[start:end] for start, end in sentences(text)] == ["One.", "Two!", "Three"]
