"""The same numbers on every backend, checked before anything is sent, and told without the text."""

from __future__ import annotations

import enum
import json
import math
from collections import UserDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.errors import ValidationError
from memlane.sizing import (
    MAX_FILTERABLE_BYTES,
    MAX_METADATA_KEYS,
    MAX_PAYLOAD_BYTES,
    MAX_TAGS,
    FilterableValue,
    check_budget,
    check_metadata,
    check_query,
    check_tags,
    check_text,
    filterable_subset,
    metadata_size,
    value_size,
)

QUICK = settings(deadline=None, max_examples=150)
MARK = "sapphire"  # in no message

texts = st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | texts | numbers
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
keys = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "Z")), min_size=1, max_size=15
).filter(lambda key: key[0] not in "@$")
metadatas = st.dictionaries(keys, values, max_size=5)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("", 0), ("abc", 3), ("é", 2), ("日", 3), ("😀", 4), ('"\n', 2),
        (0, 4), (2**62, 4), (0.5, 4), (-1, 4), (True, 0), (False, 0),
        (["a"], 5), (["a", "bc"], 11), ([1, 2, 3], 24), ([0.5], 8),
    ],
)  # fmt: skip
def test_a_value_weighs_what_the_service_counts(value: FilterableValue, size: int) -> None:
    """Strings raw and not as JSON, numbers 4, booleans nothing, items of a list 4 more each."""
    assert value_size(value) == size


@pytest.mark.parametrize(
    ("metadata", "size"),
    [({}, 4), ({"a": True}, 13), ({"a": "é"}, 15), ({"é": 1}, 18), ({"a": 1, "bc": ["x"]}, 32)],
)
def test_metadata_weighs_what_the_service_counts(
    metadata: Mapping[str, FilterableValue], size: int
) -> None:
    """4, and for each entry 8, its key and its value."""
    assert metadata_size(metadata) == size


@QUICK
@given(st.dictionaries(keys, texts | numbers | st.booleans(), max_size=5), keys, texts)
def test_each_entry_adds_its_own_weight(
    metadata: dict[str, FilterableValue], key: str, value: str
) -> None:
    """Sizes add up, whatever else is there."""
    without = {name: each for name, each in metadata.items() if name != key}
    added = 8 + len(key.encode()) + len(value.encode())
    assert metadata_size({**without, key: value}) == metadata_size(without) + added


def test_what_can_be_filtered_on() -> None:
    """Strings, finite numbers, booleans and lists of one kind; the rest is only kept."""
    unusable: list[object] = [
        None, [], ["a", 1], [True, False], [1, True], {"a": 1}, [["a"]], ["a", None], math.nan,
        [math.inf],
    ]  # fmt: skip
    kept: Any = {f"kept{n}": value for n, value in enumerate(unusable)}
    filterable: Any = {"s": "", "n": 0, "f": 0.5, "b": False, "ss": ["a", ""], "ns": [1, 2.5]}
    assert filterable_subset({**kept, **filterable, "t": ("a", "b")}) == {
        **filterable,
        "t": ["a", "b"],
    }


def equal(one: object, other: object) -> bool:
    """Compare as JSON does: no boolean is a number."""
    return json.dumps(one) == json.dumps(other)


@QUICK
@given(metadatas)
def test_metadata_is_copied_exactly(metadata: dict[str, Any]) -> None:
    """What JSON can say comes back as it was, in its order, and again when copied again."""
    before = json.dumps(metadata)
    copied = check_metadata(metadata)
    assert isinstance(copied, MappingProxyType)
    assert json.dumps(dict(copied)) == before
    assert equal(dict(check_metadata(copied)), metadata)
    assert set(filterable_subset(copied)) <= set(metadata)


def test_metadata_is_detached() -> None:
    """What the caller changes afterwards, at any depth, is not in the record."""
    inner: dict[str, Any] = {"list": [1, {"x": "y"}]}
    given_metadata = {"key": inner, "tuple": (1, 2)}
    copied = check_metadata(given_metadata)
    inner["list"][1]["x"] = "changed"
    inner["new"] = 1
    given_metadata["other"] = {}
    assert dict(copied) == {"key": {"list": [1, {"x": "y"}]}, "tuple": [1, 2]}
    with pytest.raises(TypeError):
        copied["key"] = 1  # type: ignore[index] # read-only, which is the point


class Colour(enum.StrEnum):
    RED = "red"


class Rank(enum.IntEnum):
    FIRST = 1


def test_members_of_enums_are_kept_as_what_they_stand_for() -> None:
    """Any mapping is accepted; strings and numbers become plain ones."""
    copied = check_metadata(UserDict({Colour.RED: Colour.RED, "rank": Rank.FIRST}))
    assert [(type(key), type(value)) for key, value in copied.items()] == [(str, str), (str, int)]
    assert type(check_text(Colour.RED)) is str
    assert [type(tag) for tag in check_tags([Colour.RED])] == [str]


TOO_LONG = ["x" * 64, "é" * 32]
CONTROLS = ["a\0b", "a\nb", "a\x7f", "a\x9f"]
BAD_KEYS = ["", "@x", "$x", "\ud800", 1, None, b"x", *TOO_LONG, *CONTROLS]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_keys_that_cannot_be_stored_are_refused(key: Any) -> None:
    """Empty, kept for filters, too long, with control characters or surrogates, or not text."""
    with pytest.raises(ValidationError, match="metadata key 2 ") as caught:
        check_metadata({"fine": 1, key: MARK})
    assert MARK not in str(caught.value)
    assert not isinstance(key, str) or len(key) < 2 or key not in str(caught.value)


def test_keys_people_use_are_accepted() -> None:
    """Dots, spaces, other scripts and emoji; 63 bytes, 32 of them."""
    usual = [
        "a.b",
        "a b",
        "ключ",
        "می\u200cخواهم",
        "\U0001f468\u200d\U0001f469",
        "x" * 63,
        "~a",
        "a@b",
    ]
    assert list(check_metadata(dict.fromkeys(usual))) == usual
    assert len(check_metadata({f"k{n}": n for n in range(MAX_METADATA_KEYS)})) == MAX_METADATA_KEYS
    with pytest.raises(ValidationError, match="33 keys; at most 32"):
        check_metadata({f"k{n}": n for n in range(33)})


def short(value: object) -> str:
    return repr(value)[:20]


def nested(levels: int) -> Any:
    value: Any = MARK
    for level in range(levels - 1):
        value = [value] if level % 2 else {"k": value}
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "not finite"), ([math.inf], "not finite"), ({"a": -math.inf}, "not finite"),
        (2**63, "64 bits"), ([-(2**63)], "64 bits"), (10**400, "64 bits"),
        (b"x", "bytes"), ({1, 2}, "set"), (object(), "object"), (1j, "complex"), (iter(()), "iter"),
        ("\ud800", "surrogate"), (["a\udfff"], "surrogate"), ({"\ud800": 1}, "surrogate"),
        ({1: "x"}, "not a string"), ({None: "x"}, "not a string"),
        (nested(17), "16 levels"), (nested(400), "16 levels"),
        (MARK * 5_000, "32,768 bytes"), ([MARK] * 5_000, "32,768 bytes"),
        ({"k" * 40_000: 1}, "32,768 bytes"), ([[]] * 40_000, "32,768 bytes"),
    ],
    ids=short,
)  # fmt: skip
def test_values_json_cannot_say_are_refused(value: Any, said: str) -> None:
    """The message says in which place, and quotes neither key nor value."""
    with pytest.raises(ValidationError, match=said) as caught:
        check_metadata({"fine": 1, "the key": value})
    assert "metadata key 2" in str(caught.value) or said == "32,768 bytes"
    assert "the key" not in str(caught.value)
    assert MARK not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_deepest_and_the_largest_values_are_accepted() -> None:
    """16 levels, 63 bits, and whatever fits beside the smallest text."""
    largest = {"deep": nested(16), "high": 2**63 - 1, "low": -(2**63) + 1, "long": "x" * 32_000}
    assert dict(check_metadata(largest)) == largest


def test_cycles_and_bombs_end_at_once() -> None:
    """A list within itself, and lists that double sixteen times, small in memory and endless."""
    cycle: list[Any] = []
    cycle += [cycle, cycle]
    with pytest.raises(ValidationError, match="holds itself"):
        check_metadata({"key": cycle})
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(ValidationError, match="holds itself"):
        check_metadata(loop)
    bomb: Any = "x"
    for _ in range(14):
        bomb = [bomb] * 100
    with pytest.raises(ValidationError, match="32,768 bytes"):
        check_metadata({"key": bomb})


@pytest.mark.parametrize("metadata", [None, "a", [("a", 1)], 1, {"a"}])
def test_metadata_is_an_object(metadata: object) -> None:
    """Nothing else, not even pairs."""
    with pytest.raises(ValidationError, match="metadata must be an object"):
        check_metadata(metadata)


class Unread(str):
    """A text that must not be looked at: its length alone says no."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        raise AssertionError("it was encoded")

    def strip(self, *_: object) -> str:
        raise AssertionError("it was read")

    isspace = isascii = strip  # type: ignore[assignment] # any reading at all


def test_a_huge_text_is_refused_unread() -> None:
    """Ten megabytes cost nothing, and the message holds a number and none of it."""
    with pytest.raises(
        ValidationError, match=r"at least 10,000,000 bytes; at most 32,768"
    ) as caught:
        check_text(Unread("x" * 10_000_000))
    assert len(str(caught.value)) < 200


@QUICK
@given(st.text(st.characters(codec="utf-8")))
def test_a_text_comes_back_as_it_is(text: str) -> None:
    """Any text that says something; blank ones are refused."""
    if text.strip():
        assert check_text(text) == check_query(text) == text
    else:
        with pytest.raises(ValidationError, match="content is blank"):
            check_text(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "not NoneType"), (b"x", "not bytes"), (1, "not int"), ("", "blank"),
        (" \n\t\u3000", "blank"), ("ab\ud800", "lone surrogate at character 2"),
        ("\udc80", "surrogate"), ("x" * 32_769, "32,769 bytes"), ("é" * 16_385, "32,770 bytes"),
        ("日" * 11_000, "33,000 bytes"),
    ],
    ids=short,
)  # fmt: skip
def test_texts_that_cannot_be_stored_are_refused(text: object, said: str) -> None:
    """The same for queries, under their own name."""
    with pytest.raises(ValidationError, match=said):
        check_text(text)
    with pytest.raises(ValidationError, match=rf"^query .*{said}"):
        check_query(text)


def test_the_largest_text_is_accepted() -> None:
    """32 KiB of UTF-8, whatever the script."""
    for text in ("x" * 32_768, "é" * 16_384, "日" * 10_922, "😀" * 8_192):
        assert check_text(text) is text


def test_tags_are_sorted_and_kept_once() -> None:
    """From a list, a tuple or a set."""
    assert (
        check_tags(["b", "a", "b"])
        == check_tags(("a", "b"))
        == check_tags({"b", "a"})
        == ("a", "b")
    )
    assert check_tags(()) == ()
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert check_tags([family, "x y", "é" * 32]) == ("x y", "é" * 32, family)
    assert len(check_tags([f"tag{n}" for n in range(MAX_TAGS)] * 2)) == MAX_TAGS


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("travel", "not str"), (b"travel", "not bytes"), (None, "not NoneType"),
        ({"a": 1}, "not dict"), (1, "not int"), ([1], "not blank"), ([None], "not blank"),
        ([""], "not blank"), ([" "], "not blank"), (["a\nb"], "control"),
        (["\ud800"], "surrogate"), (["x" * 65], "65 bytes; at most 64"),
        (["é" * 33], "66 bytes"), ([f"t{n}" for n in range(33)], "33 tags; at most 32"),
    ],
)  # fmt: skip
def test_tags_that_cannot_be_stored_are_refused(tags: object, said: str) -> None:
    """A bare string would be letters; the rest names the number that is too large."""
    with pytest.raises(ValidationError, match=said):
        check_tags(tags)


def test_the_budget_counts_what_can_be_filtered_on() -> None:
    """1,200 bytes of metadata and tags are accepted, one more is told, nested ones are free."""
    # 4, the entry 8, its key 1; the tags' entry 8 and key 5, each tag 4 and itself.
    fits: Any = {"k": "x" * (MAX_FILTERABLE_BYTES - 13)}
    check_budget(metadata=fits, tags=(), payload_bytes=0)
    check_budget(metadata={"k": "x" * (1_200 - 13 - 13 - 7)}, tags=["abc"], payload_bytes=0)
    for metadata, tags in (
        ({"k": "x" * (1_200 - 12)}, []),
        ({"k": "x" * (1_200 - 13 - 13 - 6)}, ["abc"]),
    ):
        with pytest.raises(
            ValidationError, match=r"1,201 filterable bytes; at most 1,200"
        ) as caught:
            check_budget(metadata=metadata, tags=tags, payload_bytes=0)
        assert "xxx" not in str(caught.value)
    check_budget(metadata={"k": {"nested": "x" * 5_000}}, tags=(), payload_bytes=0)


def test_the_budget_counts_the_payload() -> None:
    """32 KiB of text and exact forms."""
    check_budget(metadata={}, tags=(), payload_bytes=MAX_PAYLOAD_BYTES)
    with pytest.raises(ValidationError, match=r"32,769 bytes; at most 32,768"):
        check_budget(metadata={}, tags=(), payload_bytes=MAX_PAYLOAD_BYTES + 1)
