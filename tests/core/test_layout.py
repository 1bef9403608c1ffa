"""How a record lies in a store may never change, and two owners may never lie in one place."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from memlane.errors import ValidationError
from memlane.layout import (
    EPOCH,
    MAX_NAMESPACE_BYTES,
    MAX_RECORD_ID_BYTES,
    VectorKey,
    check_kind,
    check_record_id,
    from_minutes,
    idempotent_id,
    in_namespace,
    index_name,
    namespace_segment,
    normalize_namespace,
    owner_prefix,
    parse_vector_key,
    tenant_code,
    to_minutes,
    ulid,
    user_code,
    vector_key,
)
from memlane.scope import MAX_ID_BYTES, Scope

QUICK = settings(deadline=None, max_examples=200)

# Hashed forms of no tenant and of somebody: what a hostile tenant would call itself.
SUSPECTS = (
    None, "acme", "Acme", "ACME", "acme-1", "acme_1", "acme.1", "acme 1", "acme--1", "a--b", "a-b",
    "a/b", "a\u2011b", "../x", "x", "-x", "x-", "none", "None", "null", "memory-acme", "\U0001f916",
    "\U0001f916\U0001f916", "caf\u00e9", "cafe\u0301", "\u0130stanbul", "x" * 56, "x" * 57,
    "x" * 300, "x" * 301, "X" * 300, tenant_code(None), tenant_code("Acme"), tenant_code("a--b"),
    user_code(None, "ada"), user_code("acme", "ada"),
)  # fmt: skip

INDEX_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # S3 Vectors' rule
SESSION_TAG = re.compile(r"[a-zA-Z0-9 _.:/=+\-@]{0,256}")  # the ASCII part of the rule of STS


def _usable(text: str) -> bool:
    return bool(text.strip()) and len(text.encode()) <= MAX_ID_BYTES


ids = st.one_of(
    st.sampled_from([each for each in SUSPECTS if each is not None]),
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=80
    ).filter(_usable),
    st.text("aA-._1/", min_size=1, max_size=6),
)
tenants = st.one_of(st.none(), ids)
scopes = st.builds(lambda user, tenant, agent: Scope(user, tenant=tenant, agent=agent),
                   ids, tenants, tenants)  # fmt: skip
record_ids = st.one_of(
    st.sampled_from(["a", "a#w1", "a/b", "a%2Fb", "a#w1#w2", "%", "#", "/", "..", "a b", "1"]),
    st.text(min_size=1, max_size=60).filter(
        lambda text: text.strip() and text.isprintable() and "\ud800" not in text
    ),
)
things = st.tuples(scopes, record_ids, st.integers(0, 99))


def test_suspect_tenants_have_codes_of_their_own() -> None:
    """Case, separators, hashes posing as tenants and no tenant at all stay apart."""
    assert len({tenant_code(each) for each in SUSPECTS}) == len(set(SUSPECTS))
    pairs = {user_code(tenant, user) for tenant in SUSPECTS for user in SUSPECTS if user}
    assert len(pairs) == len(SUSPECTS) * (len(SUSPECTS) - 1)
    assert pairs.isdisjoint({tenant_code(each) for each in SUSPECTS})


@QUICK
@given(tenants, tenants)
def test_two_tenants_never_share_a_code(one: str | None, other: str | None) -> None:
    """Equal codes mean equal tenants, and a code never lies under another's."""
    assert (tenant_code(one) == tenant_code(other)) is (one == other)
    for variant in (str(one).upper(), str(one).title(), f"{one} ", f"{one}-", tenant_code(one)):
        if variant != one and tenant_code(one) != one:
            assert tenant_code(variant) != tenant_code(one)


@QUICK
@given(tenants, ids)
def test_codes_fit_index_names_and_session_tags(tenant: str | None, user: str) -> None:
    """Every code can be the name of an index and the value of a session tag."""
    for code in (tenant_code(tenant), user_code(tenant, user)):
        assert INDEX_NAME.fullmatch(index_name(code))
        assert SESSION_TAG.fullmatch(code)


def test_plain_tenants_are_their_own_code() -> None:
    """A lower-case id is readable in the console, up to the longest that fits."""
    for plain in ("acme", "acme-1", "a.b", "0", "x" * 56):
        assert tenant_code(plain) == plain
    assert index_name("x" * 56) == "memory-" + "x" * 56
    assert tenant_code("x" * 57) != "x" * 57


def test_codes_are_pinned() -> None:
    """A store written by any version opens: these values are part of the format."""
    assert {
        tenant: tenant_code(tenant)
        for tenant in (None, "Acme Corp.", "a--b", "\U0001f916", "x" * 300, "../x")
    } == {
        None: "none--dwh4ntvr7fgggjww2ved2jmpzm",
        "Acme Corp.": "acme-corp--dtc2v4o6b23dl2pwcvqbxbuzve",
        "a--b": "a-b--bskzlz3eg4ojkazkmyr6t4uoin",
        "\U0001f916": "t--uhtyxmw3we4gdrfzgf2xrh5sgy",
        "x" * 300: "x" * 24 + "--jpvefaku6l2qov3wdtm7a6e6w7",
        "../x": "x--ib6pmzxmr7qpq54ykr7hcglhxw",
    }
    assert user_code("acme", "ada") == "u--2asxqm3ckjxe3gtyfjurog5ukn"
    assert user_code(None, "ada") == "u--k5elfjnz64pz34hkihqhfwppnw"


def test_keys_are_pinned() -> None:
    """A record stored by any version is found again under the same key."""
    ada = Scope("ada", tenant="acme")
    assert owner_prefix(ada) == "2asxqm3ckjxe3gtyfjur/"
    assert vector_key(ada, "01J") == "2asxqm3ckjxe3gtyfjur/dwh4ntvr7fgggjww/01J"
    supported = Scope("ada", tenant="acme", agent="support", session="never in a key")
    assert vector_key(supported, "a/b#w1 \u00e9", part=3) == (
        "2asxqm3ckjxe3gtyfjur/b4icr72p4w7aumw7/a%2Fb%23w1 %C3%A9#w3"
    )
    assert vector_key(Scope("ada"), "x") == "k5elfjnz64pz34hkihqh/dwh4ntvr7fgggjww/x"
    assert idempotent_id("order-1") == "idem-box6eikw2juyyfb3qycairwtm3"
    assert ulid(1_763_000_000_000, 12_345) == "01K9XFT7G00000000000000C1S"
    assert ulid(0, 0) == "0" * 26
    assert ulid(2**48 - 1, 2**80 - 1) == "7" + "Z" * 25


def test_times_are_pinned() -> None:
    """Minutes in stored filters mean the same moments for ever."""
    assert datetime(2020, 1, 1, tzinfo=UTC) == EPOCH
    assert to_minutes(datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)) == 3_260_726
    assert to_minutes(datetime(2019, 12, 31, 23, 59, 59, tzinfo=UTC)) == -1


@QUICK
@given(things, things)
@example((Scope("u1"), "1", 0), (Scope("u10"), "1", 0))
@example((Scope("u"), "a", 1), (Scope("u"), "a#w1", 0))
@example((Scope("u"), "a/b", 0), (Scope("u"), "a%2Fb", 0))
@example((Scope("u", agent="None"), "a", 0), (Scope("u"), "a", 0))
def test_two_things_never_share_a_key(
    one: tuple[Scope, str, int], other: tuple[Scope, str, int]
) -> None:
    """Equal keys mean equal tenant, user, agent, id and part."""
    keys = [vector_key(scope, record_id, part=part) for scope, record_id, part in (one, other)]
    assert (keys[0] == keys[1]) is (one == other)


@QUICK
@given(scopes, scopes, record_ids, st.integers(0, 99))
@example(Scope("u1"), Scope("u10"), "1", 0)
def test_a_prefix_never_reaches_into_another_owner(
    one: Scope, other: Scope, record_id: str, part: int
) -> None:
    """A key begins with its own owner's prefix and with no other's."""
    assume((one.tenant, one.user) != (other.tenant, other.user))
    key = vector_key(one, record_id, part=part)
    assert key.startswith(owner_prefix(one))
    assert not key.startswith(owner_prefix(other))
    assert len(owner_prefix(one)) == len(owner_prefix(other))


@QUICK
@given(scopes, record_ids, st.integers(0, 9999))
def test_a_key_gives_its_parts_back(scope: Scope, record_id: str, part: int) -> None:
    """A listing of keys alone tells owner, agent, id and window."""
    key = vector_key(scope, record_id, part=part)
    found = parse_vector_key(key)
    assert found is not None
    assert (found.record_id, found.part) == (record_id, part)
    assert f"{found.owner}/" == owner_prefix(scope)
    assert key.split("/")[1] == found.agent


def test_an_agent_is_told_from_none_and_from_its_name_in_another_case() -> None:
    """No agent, the word None and the older tools' word for it have lanes of their own."""
    agents = (None, "None", "default", "Default", "null", "")
    keys = {vector_key(Scope("u", agent=a), "x") for a in agents if a != ""}
    assert len(keys) == 5


@QUICK
@given(st.text("\U0001f916\u00e9/#%a", min_size=1, max_size=256), st.integers(0, 99_999))
def test_the_longest_key_fits(record_id: str, part: int) -> None:
    """Whatever id passes the check, its key has at most 1,024 bytes."""
    assume(len(record_id.encode()) <= MAX_RECORD_ID_BYTES)
    scope = Scope("u" * MAX_ID_BYTES, tenant="t" * MAX_ID_BYTES, agent="a" * MAX_ID_BYTES)
    assert len(vector_key(scope, check_record_id(record_id), part=part).encode()) <= 1_024


@pytest.mark.parametrize(
    "key",
    [
        "",
        "01J",
        "user1/agent/01J",
        "a" * 20 + "/" + "b" * 8,
        "a" * 20 + "/" + "b" * 8 + "/",
        "a" * 20 + "/" + "b" * 8 + "/x/y",
        "a" * 20 + "/" + "b" * 8 + "/x#w0",
        "a" * 20 + "/" + "b" * 8 + "/x#w01",
        "a" * 20 + "/" + "b" * 8 + "/x#w1#w2",
        "A" * 20 + "/" + "b" * 8 + "/x",
        "1" * 20 + "/" + "b" * 8 + "/x",
        "\n" + "a" * 20 + "/" + "b" * 8 + "/x",
    ],
)
def test_keys_of_other_shapes_are_somebody_elses(key: str) -> None:
    """A key an older tool wrote is not taken for one of ours."""
    assert parse_vector_key(key) is None


def test_a_key_of_ours_is_parsed_part_by_part() -> None:
    """The smallest key there can be, with and without a window."""
    owner, agent = "a" * 20, "b" * 16
    assert parse_vector_key(f"{owner}/{agent}/x") == VectorKey(owner, agent, "x", 0)
    assert parse_vector_key(f"{owner}/{agent}/x%23w1#w12") == VectorKey(owner, agent, "x#w1", 12)


@QUICK
@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_ulids_sort_by_time(early: int, late: int, entropy: int) -> None:
    """Whatever the entropy, the later id is the greater string."""
    assume(early < late)
    assert ulid(early, 2**80 - 1 - entropy) < ulid(late, entropy)


@QUICK
@given(st.text(min_size=1), st.text(min_size=1))
def test_idempotency_keys_have_ids_of_their_own(one: str, other: str) -> None:
    """The same key is the same record, another key is another, and each id is legal."""
    assert (idempotent_id(one) == idempotent_id(other)) is (one == other)
    assert check_record_id(idempotent_id(one)) == idempotent_id(one)


@pytest.mark.parametrize("key", ["", None, 5, b"x", ["x"]])
def test_an_idempotency_key_is_a_string(key: object) -> None:
    """Nothing else names an event."""
    with pytest.raises(ValidationError, match="idempotency_key"):
        idempotent_id(key)  # type: ignore[arg-type] # what untyped code would pass


@pytest.mark.parametrize(
    "bad", ["", " ", "\t", "a\nb", "a\0b", "\ud800", "x" * 257, "\u00e9" * 129, 5, None, b"x"]
)
def test_bad_record_ids_are_refused(bad: object) -> None:
    """Blank, unprintable, undecodable and oversized ids are refused, and not repeated in text."""
    with pytest.raises(ValidationError) as caught:
        check_record_id(bad)
    assert "record_id" in str(caught.value)
    assert "\ud800" not in str(caught.value)


@pytest.mark.parametrize(
    "bad", ["", "Fact", "a b", "-a", "a-", "x" * 33, "fa\u00e7t", "a\n", 5, None]
)
def test_bad_kinds_are_refused(bad: object) -> None:
    """A kind is a short lower-case word."""
    with pytest.raises(ValidationError, match="kind"):
        check_kind(bad)
    assert check_kind("x" * 32) == "x" * 32
    assert check_kind("user.pref_2-b") == "user.pref_2-b"


def _ok(namespace: str) -> str | None:
    try:
        return normalize_namespace(namespace)
    except ValidationError:
        return None


@QUICK
@given(st.text(max_size=60).map(lambda text: f"/{text}"))
def test_normalising_twice_changes_nothing(namespace: str) -> None:
    """What is stored is its own normal form: ASCII, "/" at both ends, within the bound."""
    once = _ok(namespace)
    assume(once is not None)
    assert once is not None
    assert normalize_namespace(once) == once
    assert once.isascii()
    assert once.startswith("/")
    assert once.endswith("/")
    assert "//" not in once
    assert len(once) <= MAX_NAMESPACE_BYTES
    assert in_namespace(once, "/")


@QUICK
@given(ids.filter(lambda text: len(text.encode()) <= 60))
@example(".")
@example("..")
@example("../x")
@example("a/b")
@example("%2F")
@example("u1/")
def test_an_id_as_a_segment_opens_no_folder(user: str) -> None:
    """Any id is one segment, legal, and not taken for another id's."""
    path = normalize_namespace(f"/users/{namespace_segment(user)}/")
    assert path.count("/") == 3
    assert in_namespace(path, "/users/")
    for other in ("u1", "..", ".", "a", "a/b", "%2F", "%"):
        if other != user:
            theirs = normalize_namespace(f"/users/{namespace_segment(other)}/")
            assert not in_namespace(path, theirs)
            assert not in_namespace(theirs, path)


def test_a_namespace_means_its_subtree() -> None:
    """Itself and what is below, never a sibling that begins alike."""
    assert in_namespace("/users/u1/", "/users/u1/")
    assert in_namespace("/users/u1/a/", "/users/u1/")
    assert not in_namespace("/users/u10/", "/users/u1/")
    assert not in_namespace("/users/", "/users/u1/")
    assert not in_namespace("/users/U1/", "/users/u1/")
    assert normalize_namespace("/users/u1") == "/users/u1/"
    assert normalize_namespace("/") == "/"


@pytest.mark.parametrize(
    "bad",
    ["", "a", "a/", "//", "/a//b/", "/./", "/../", "/a/../b", "/\ud800/", 5, None, ["/a/"],
     "/" + "x" * 199 + "/", "/" + "\u00e9" * 40 + "/"],
)  # fmt: skip
def test_bad_namespaces_are_refused(bad: object) -> None:
    """No relative, empty, climbing or oversized path is stored."""
    with pytest.raises(ValidationError, match="namespace"):
        normalize_namespace(bad)
    assert len(normalize_namespace("/" + "x" * 198)) == MAX_NAMESPACE_BYTES


@QUICK
@given(st.integers(-1_000_000_000, 4_000_000_000))
def test_minutes_come_back(minutes: int) -> None:
    """Every whole minute of the calendar survives the way there and back."""
    assume(datetime.min.replace(tzinfo=UTC) <= EPOCH + timedelta(minutes=minutes))
    assert to_minutes(from_minutes(minutes)) == minutes
    assert (
        to_minutes(from_minutes(minutes) + timedelta(seconds=59, microseconds=999_999)) == minutes
    )


@QUICK
@given(st.datetimes(timezones=st.just(UTC)), st.integers(-23, 23))
def test_a_moment_has_the_same_minute_in_every_time_zone(moment: datetime, hours: int) -> None:
    """The clock on the wall does not matter."""
    assume(1 < moment.year < 9999)
    there = moment.astimezone(timezone(timedelta(hours=hours)))
    assert to_minutes(there) == to_minutes(moment)


class Nowhere(tzinfo):
    """A time zone that does not know its offset, as `pytz` and hand-written ones may be."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        del dt
        return None

    dst = tzname = utcoffset  # type: ignore[assignment] # nothing is known


@pytest.mark.parametrize("zone", [None, Nowhere()])
def test_a_naive_moment_is_refused(zone: tzinfo | None) -> None:
    """A datetime without an offset is naive, whatever its tzinfo says."""
    with pytest.raises(ValidationError, match="time zone"):
        to_minutes(datetime(2026, 1, 1, tzinfo=zone))


def test_minutes_are_exact_in_float32_for_as_long_as_promised() -> None:
    """The first minute that a float32 cannot hold lies at the end of 2051, and the like of 1988."""
    assert from_minutes(2**24).year == 2051
    for edge in (2**24, -(2**24)):
        span = np.arange(edge - 3, edge + 4)
        exact = span.astype(np.float32).astype(np.int64) == span
        assert (exact == (np.abs(span) <= 2**24) | (span % 2 == 0)).all()
    months = np.array(
        [
            to_minutes(datetime(year, month, 1, 0, 1, tzinfo=UTC))
            for year in range(1989, 2051)
            for month in range(1, 13)
        ]
    )
    assert (months.astype(np.float32).astype(np.int64) == months).all()
