"""Users, roles and sessions are what was put, and keys are nobody else's."""

from __future__ import annotations

import re

import pytest

from memlane.testing.emulator.failure import AwsError, rendered
from memlane.testing.emulator.identity import AccessKey, Identity
from memlane.testing.emulator.policies import authorize

ALLOW = {"Statement": {"Effect": "Allow", "Action": "s3vectors:*", "Resource": "*"}}


@pytest.fixture
def identity() -> Identity:
    return Identity()


def test_the_host_may_do_everything(identity: Identity) -> None:
    caller = identity.caller_of(identity.admin.access_key, None, 0.0)
    assert caller.arn == "arn:aws:iam::111122223333:user/host"
    authorize(caller, "s3vectors:DeleteVectorBucket", "arn:aws:s3vectors:::x", {}, identity)


def test_keys_look_like_keys(identity: Identity) -> None:
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", identity.admin.access_key)
    assert len(identity.admin.secret_key) == 40
    arn = identity.put_role("tenant")
    key = identity.open_session(identity.roles[arn], "s", expires_at=1.0).key
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", key.access_key)
    assert key.token is not None
    assert len(key.token) > 300


def test_a_repr_shows_no_secret(identity: Identity) -> None:
    arn = identity.put_role("tenant")
    key = identity.open_session(identity.roles[arn], "s", expires_at=1.0).key
    shown = repr(key)
    assert key.secret_key not in shown
    assert str(key.token) not in shown


def test_reset_keeps_the_hosts_key(identity: Identity) -> None:
    before = identity.admin
    key = identity.put_user("ada", policy=ALLOW)
    identity.put_role("tenant")
    identity.reset()
    assert identity.admin == before
    assert identity.key(key.access_key) is None
    assert not identity.roles


def test_nothing_issued_before_a_reset_is_valid_after_it(identity: Identity) -> None:
    def issued() -> list[AccessKey]:
        arn = identity.put_role("tenant")
        session = identity.open_session(identity.roles[arn], "s", expires_at=9.0)
        return [identity.put_user("ada"), session.key]

    before = issued()
    identity.reset()
    after = issued()
    assert not {each.access_key for each in before} & {each.access_key for each in after}
    for key in before:
        with pytest.raises(AwsError, match="UnrecognizedClientException"):
            identity.caller_of(key.access_key, key.token, 0.0)


def test_a_user_put_again_keeps_its_key(identity: Identity) -> None:
    key = identity.put_user("ada")
    assert not identity.caller_of(key.access_key, None, 0.0).policies
    assert identity.put_user("ada", policy=[ALLOW, ALLOW], tags={"T": "x"}) == key
    caller = identity.caller_of(key.access_key, None, 0.0)
    assert len(caller.policies) == 2
    assert caller.tags == {"T": "x"}
    given = AccessKey(access_key="AKIAGIVENGIVENGIVENG", secret_key="s")
    assert identity.put_user("bob", key=given) == given


def test_a_deleted_user_is_nobody(identity: Identity) -> None:
    key = identity.put_user("ada")
    assert identity.delete_user("ada")
    assert not identity.delete_user("ada")
    with pytest.raises(AwsError, match="UnrecognizedClientException"):
        identity.caller_of(key.access_key, None, 0.0)


def test_sessions_follow_their_roles_policies(identity: Identity) -> None:
    arn = identity.put_role("tenant", tags={"Team": "a", "TenantID": "none"})
    session = identity.open_session(
        identity.roles[arn], "s", expires_at=10.0, tags={"tenantid": "acme"}
    )
    key = session.key
    caller = identity.caller_of(key.access_key, key.token, 9.0)
    assert caller.tags == {"Team": "a", "tenantid": "acme"}
    assert not caller.policies
    identity.put_role("tenant", policy=ALLOW)
    assert identity.caller_of(key.access_key, key.token, 9.0).policies
    identity.delete_role("tenant")
    identity.put_role("tenant", policy=ALLOW)
    with pytest.raises(AwsError, match="UnrecognizedClientException"):
        identity.caller_of(key.access_key, key.token, 9.0)


def test_a_token_belongs_to_its_key(identity: Identity) -> None:
    arn = identity.put_role("tenant")
    key, other = (identity.open_session(identity.roles[arn], "s", expires_at=9.0).key for _ in "ab")
    for token in (None, "", other.token):
        with pytest.raises(AwsError, match="UnrecognizedClientException"):
            identity.caller_of(key.access_key, token, 0.0)


def test_malformed_policies_change_nothing(identity: Identity) -> None:
    key = identity.put_user("ada", policy=ALLOW)
    with pytest.raises(AwsError, match="MalformedPolicyDocument"):
        identity.put_user("ada", policy="{")
    assert identity.caller_of(key.access_key, None, 0.0).policies
    with pytest.raises(AwsError, match="MalformedPolicyDocument"):
        identity.put_role("tenant", trust=ALLOW)
    assert not identity.roles


def test_refusals_on_the_wire() -> None:
    error = AwsError("ValidationException", 400, "no", (("vectors[0]", "zero"),), {"more": 1})
    status, headers, body = rendered(error, "s3vectors", "r-1", type_header="x-amzn-errortype")
    assert status == 400
    assert headers["x-amzn-errortype"] == "ValidationException"
    assert headers["x-amzn-RequestId"] == "r-1"
    assert body == (
        b'{"message":"no","more":1,"fieldList":[{"path":"vectors[0]","message":"zero"}]}'
    )
    status, headers, body = rendered(AwsError("Throttling", 500, "<&>"), "sts", "r-2")
    assert (status, headers["Content-Type"]) == (500, "text/xml")
    assert b"<Type>Receiver</Type><Code>Throttling</Code><Message>&lt;&amp;&gt;</Message>" in body
    assert b"<RequestId>r-2</RequestId>" in body
