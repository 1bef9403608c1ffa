"""What a token vending machine says is read strictly, and nothing of it is repeated."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.aws.machine import vended, without
from memlane.aws.credentials.vending import question, read_answer
from memlane.errors import CredentialsError, IsolationError
from memlane.layout import tenant_code, user_code
from memlane.protocols import Credentials
from memlane.scope import Scope

ACME = Scope("ada", tenant="acme")
END = datetime(2026, 3, 14, 10, 26, 53, tzinfo=UTC)


def read(body: bytes, scope: Scope = ACME) -> Credentials:
    return read_answer(body, scope=scope, per_user=False, trust_unnamed=False)


@pytest.mark.parametrize(
    "answer",
    [
        vended("acme"),
        vended("acme", expiration=END.timestamp()),
        vended("acme", expiration="2026-03-14T12:26:53+02:00"),
        {
            key: value
            for key, value in vended("acme", tenantCode="acme").items()
            if key != "tenantId"
        },
        {
            "AccessKeyId": "A",
            "SecretAccessKey": "s",
            "Token": "t",
            "Expiration": "2026-03-14T10:26:53Z",
            "TenantID": "acme",
        },
        {
            "Credentials": {
                "AccessKeyId": "A",
                "SecretAccessKey": "s",
                "SessionToken": "t",
                "Expiration": "2026-03-14T10:26:53Z",
            },
            "tenantId": "acme",
        },
    ],
)
def test_several_spellings_are_read(answer: dict[str, object]) -> None:
    """Those of STS, of container credentials, and nested."""
    assert read(json.dumps(answer).encode()).expires_at == END


@pytest.mark.parametrize(
    "answer",
    [
        vended("Acme"),
        vended("other"),
        vended(None),
        vended(["acme"]),
        vended("acme", tenantCode="other"),
        vended("acme", TenantID="other"),
        {"credentials": vended("other"), "tenantCode": "acme"},
        {"credentials": vended("other"), "tenantId": "acme"},
        {"credentials": vended("acme"), "tenantId": "other"},
        without("tenantId"),
    ],
)
def test_another_tenants_answer_is_refused(answer: dict[str, object]) -> None:
    """Another tenant, two at once, or nobody's: an IsolationError, and not a key of it is shown."""
    with pytest.raises(IsolationError) as said:
        read(json.dumps(answer).encode())
    assert "ASIA" not in str(said.value)
    assert said.value.scope is ACME


UNREADABLE = {
    "no JSON": b"<html>AKIALEAK",
    "a list": b"[]",
    "nothing": b"",
    "no key": json.dumps(without("accessKeyId")).encode(),
    "no token": json.dumps(without("sessionToken")).encode(),
    "no end": json.dumps(without("expiration")).encode(),
    "an end without zone": json.dumps(vended("acme", expiration="2026-03-14T10:26:53")).encode(),
    "a far end": json.dumps(vended("acme", expiration=1e300)).encode(),
    "no time": json.dumps(vended("acme", expiration="AKIALEAK")).encode(),
    "a header in a token": json.dumps(vended("acme", sessionToken="a\r\nb: c")).encode(),
    "nested nonsense": json.dumps(vended("acme", credentials="x")).encode(),
    "not UTF-8": b'{"accessKeyId": "\xff"}',
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    """One kind of error that quotes nothing, along its whole chain."""
    with pytest.raises(CredentialsError) as said:
        read(body)
    assert "AKIALEAK" not in str(said.value)
    error: BaseException | None = said.value
    while error is not None:
        assert not hasattr(error, "doc")
        error = error.__context__
    assert said.value.remedy


@given(
    st.binary(max_size=100)
    | st.recursive(
        st.none() | st.text() | st.floats(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(sorted(vended("acme"))), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_nothing_else_is_raised(body: bytes) -> None:
    """Whatever comes, it is one of two errors or credentials."""
    with pytest.raises((CredentialsError, IsolationError)):
        read(body)


def test_the_question_names_tenant_and_code() -> None:
    """Id and code of the tenant; of the user only where credentials are a user's."""
    assert question(Scope("ada"), per_user=False) == {"tenantCode": tenant_code(None)}
    assert question(Scope("ada", tenant="Acme"), per_user=True) == {
        "tenantId": "Acme",
        "tenantCode": tenant_code("Acme"),
        "userId": "ada",
        "userCode": user_code("Acme", "ada"),
    }
