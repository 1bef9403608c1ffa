"""A cursor goes on exactly where it came from, or not at all."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from memlane.cursors import decode_cursor, encode_cursor
from memlane.errors import InvalidCursorError
from memlane.filters import Filter
from memlane.scope import Scope

QUICK = settings(deadline=None, max_examples=150)
ADA = Scope("ada", tenant="acme", agent="support", session="s1")
TOPIC = Filter.eq("topic", "tea")
LETTERS = string.ascii_letters + string.digits + "-_+/=. \n\0\u00e9\u212a"

places = st.text(st.characters(codec="utf-8"), max_size=30)
names = st.text("abA/ \u00e9", min_size=1, max_size=4).filter(lambda text: text.strip())
scopes = st.builds(
    lambda user, tenant, agent, session: Scope(user, tenant=tenant, agent=agent, session=session),
    names,
    *[st.none() | names] * 3,
)
conditions = st.sampled_from([
    None, TOPIC, Filter.ne("topic", "tea"), Filter.eq("topic", True), Filter.eq("topic", 1),
    Filter.eq("topic", "1"), Filter.in_("topic", ["tea"]), Filter.gte("n", 1) & TOPIC,
])  # fmt: skip
namespaces = st.sampled_from(["/", "/a/", "/a/b/", "/A/"])
listings = st.tuples(scopes, namespaces, conditions)


def _encode(place: str, scope: Scope, namespace: str, condition: Filter | None) -> str:
    cursor = encode_cursor(place, scope=scope, namespace=namespace, condition=condition)
    assert cursor is not None
    return cursor


@QUICK
@given(places, listings)
def test_a_cursor_gives_its_place_back(
    place: str, listing: tuple[Scope, str, Filter | None]
) -> None:
    """The backend's own words come back, and the public form is fit for a URL."""
    scope, namespace, condition = listing
    cursor = _encode(place, *listing)
    assert set(cursor) <= set(string.ascii_letters + string.digits + "-_")
    found = decode_cursor(cursor, scope=scope, namespace=namespace, condition=condition)
    assert found == place


def test_the_end_is_no_cursor() -> None:
    """None goes in and out as None."""
    assert encode_cursor(None, scope=ADA, namespace="/", condition=None) is None
    assert decode_cursor(None, scope=ADA, namespace="/", condition=None) is None


@QUICK
@given(places, listings, listings)
def test_a_cursor_is_bound_to_its_listing(
    place: str,
    mine: tuple[Scope, str, Filter | None],
    other: tuple[Scope, str, Filter | None],
) -> None:
    """With another tenant, user, agent, session, namespace or filter it is refused."""
    assume(mine != other)
    scope, namespace, condition = other
    with pytest.raises(InvalidCursorError, match="another listing"):
        decode_cursor(_encode(place, *mine), scope=scope, namespace=namespace, condition=condition)


@pytest.mark.parametrize("place", ["1.7.42", "", "x", "xy", "xyz", "\u00e9", "~~~???"])
def test_no_character_can_be_edited(place: str) -> None:
    """Each character replaced by each other, left out, doubled or padded: always refused."""
    cursor = _encode(place, ADA, "/a/", TOPIC)
    edits = {
        cursor[:at] + letter + cursor[at + drop :]
        for at in range(len(cursor) + 1)
        for letter in ["", *LETTERS]
        for drop in (0, 1)
    } - {cursor}
    for edited in edits:
        with pytest.raises(InvalidCursorError):
            decode_cursor(edited, scope=ADA, namespace="/a/", condition=TOPIC)


@QUICK
@given(
    st.one_of(
        st.text(), st.binary(), st.integers(), st.booleans(), st.floats(), st.lists(st.text())
    )
)
@example("")
@example("MQ")
@example("=")
@example("\ud800")
@example("A" * 10_000)
@example(b"MQ")
@example(0)
def test_garbage_is_refused(cursor: object) -> None:
    """Whatever is passed instead of a cursor, the error is ours and says what to do."""
    with pytest.raises(InvalidCursorError, match="start again") as caught:
        decode_cursor(cursor, scope=ADA, namespace="/", condition=None)
    assert caught.value.scope == ADA


def test_a_cursor_of_another_version_is_refused() -> None:
    """A later program's cursors are not half understood."""
    raw = base64.urlsafe_b64decode(_encode("xy", ADA, "/", None) + "==")
    assert raw.startswith(b"1")
    later = base64.urlsafe_b64encode(b"2" + raw[1:]).decode().rstrip("=")
    with pytest.raises(InvalidCursorError):
        decode_cursor(later, scope=ADA, namespace="/", condition=None)


@pytest.mark.parametrize("place", ["1.7.42", "2.1000.at.1.7.42", ""])
def test_a_cursor_is_bound_to_its_use(place: str) -> None:
    """A listing does not go on with an export's cursor, nor the other way round."""
    uses = ["", "export", "export, vectors"]
    for mine in uses:
        cursor = encode_cursor(place, scope=ADA, namespace="/", condition=None, use=mine)
        for other in uses:
            if other == mine:
                found = decode_cursor(cursor, scope=ADA, namespace="/", condition=None, use=other)
                assert found == place
                continue
            with pytest.raises(InvalidCursorError, match="another listing"):
                decode_cursor(cursor, scope=ADA, namespace="/", condition=None, use=other)


def test_an_endless_cursor_is_refused_unread() -> None:
    """A right one of that length, too: no backend makes any."""
    cursor = _encode("x" * 4_000, ADA, "/", None)
    with pytest.raises(InvalidCursorError, match="not a cursor"):
        decode_cursor(cursor, scope=ADA, namespace="/", condition=None)
    longest = _encode("x" * 3_000, ADA, "/", None)
    assert decode_cursor(longest, scope=ADA, namespace="/", condition=None) == "x" * 3_000


def test_a_cursor_and_its_error_show_no_user() -> None:
    """Neither the cursor nor the message of its refusal holds an id or a filter's value."""
    secret = Scope("ada-the-secret", tenant="acme", session="session-secret")
    cursor = _encode("1.7.42", secret, "/secret/", Filter.eq("topic", "secret"))
    assert b"secret" not in base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    with pytest.raises(InvalidCursorError) as caught:
        decode_cursor(cursor, scope=Scope("eve-the-secret"), namespace="/", condition=None)
    assert "secret" not in str(caught.value)
    assert "ada" not in str(caught.value)


def test_cursors_are_pinned() -> None:
    """A caller may keep a cursor over an upgrade."""
    assert _encode("1.7.42", ADA, "/a/", TOPIC) == "MTJkNjI4OWI0NTZlNTRlMDUxLjcuNDI"
