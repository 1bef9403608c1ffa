"""Who exists in the emulator's account: users, roles, sessions, their keys and their policies."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from memlane.testing.emulator.failure import unauthenticated
from memlane.testing.emulator.policy_documents import Policy, parsed

__all__ = ("AccessKey", "Caller", "Document", "Identity", "Role", "Session", "User")

Document: TypeAlias = "str | Mapping[str, Any]"
"""A policy: JSON, or what JSON says."""

_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_EVERYTHING: Final[Mapping[str, Any]] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
_NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who made a request, with all that decides what is allowed.

    Args:
        arn: Of the user, or of the session.
        principal: ARN that policies name: the user's, or the role's behind a session.
        account: Its account.
        unique_id: What `aws:userid` is.
        kind: "User" or "AssumedRole".
        tags: The principal's: a session's override its role's.
        policies: The principal's identity policies.
        session_policies: What limits the session further; None when nothing does.
        transitive: Tags that a further session inherits.
        expires_at: Seconds since 1970; None for lasting keys.
        name: The user's name; None for a session.
        identity: Which user or role this is, to keep decisions by; new when it is put again.
    """

    arn: str
    principal: str
    account: str
    unique_id: str
    kind: Literal["User", "AssumedRole"]
    tags: Mapping[str, str]
    policies: tuple[Policy, ...]
    session_policies: tuple[Policy, ...] | None = None
    transitive: frozenset[str] = frozenset()
    expires_at: float | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key pair, with a token when it is temporary."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user with one lasting key."""

    name: str
    arn: str
    unique_id: str
    key: AccessKey
    policies: tuple[Policy, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role that can be assumed.

    Args:
        max_session: Seconds a session may last.
        trust: Who may assume it.
    """

    name: str
    arn: str
    unique_id: str
    trust: Policy
    policies: tuple[Policy, ...]
    tags: Mapping[str, str]
    max_session: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of a role, until it expires or its role is deleted."""

    role_arn: str
    role_id: str
    name: str
    arn: str
    key: AccessKey
    tags: Mapping[str, str]
    transitive: frozenset[str]
    policies: tuple[Policy, ...] | None


class Identity:
    """The account's IAM. One thread uses it.

    Args:
        account: Twelve digits.
        region: The one region whose signatures are accepted; None for any.
        seed: Of the keys and tokens it makes.

    Attributes:
        packed_bytes: What a session's policies and tags may take, packed as `sts` packs them [?].
    """

    def __init__(
        self, *, account: str = "111122223333", region: str | None = "us-east-1", seed: int = 0
    ) -> None:
        self.account = account
        self.region = region
        self.packed_bytes = 2_048
        # Not begun anew by a reset: what was issued before it never becomes somebody else's.
        self._random = random.Random(seed)
        self._host_key = self._lasting_key()
        self.reset()

    def reset(self) -> None:
        """Forget everything but the host's all-powerful user, whose key stays what it was."""
        self.users: dict[str, User] = {}
        self.roles: dict[str, Role] = {}
        self.managed: dict[str, Policy] = {}
        self._keys: dict[str, User | Session] = {}
        self.admin = self.put_user("host", policy=_EVERYTHING, key=self._host_key)

    def put_user(
        self,
        name: str,
        *,
        policy: Document | Sequence[Document] | None = None,
        tags: Mapping[str, str] = _NO_TAGS,
        key: AccessKey | None = None,
    ) -> AccessKey:
        """Make or replace a user and return its key; a replaced user keeps the key it had.

        Args:
            name: Its name.
            policy: Its policies; without any it may do nothing.
            tags: Its tags.
            key: The key of a new user; one is drawn otherwise.

        Raises:
            AwsError: A policy is malformed.
        """
        policies = _policies(policy)
        before = self.users.get(name)
        user = User(
            name=name,
            arn=f"arn:aws:iam::{self.account}:user/{name}",
            unique_id=before.unique_id if before else self._letters("AIDA", 17),
            key=before.key if before else key or self._lasting_key(),
            policies=policies,
            tags=dict(tags),
        )
        self.users[name] = user
        self._keys[user.key.access_key] = user
        return user.key

    def put_role(
        self,
        name: str,
        *,
        trust: Document | None = None,
        policy: Document | Sequence[Document] | None = None,
        tags: Mapping[str, str] = _NO_TAGS,
        max_session: int = 3600,
    ) -> str:
        """Make or replace a role and return its ARN. Without `trust` the account trusts itself.

        Sessions of a replaced role live on under its new policies; those of a deleted one do not,
        also when a role of that name is made again.

        Raises:
            AwsError: A policy is malformed.
        """
        if trust is None:
            trust = {
                "Version": "2012-10-17",
                "Statement": {
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{self.account}:root"},
                    "Action": ["sts:AssumeRole", "sts:TagSession"],
                },
            }
        arn = f"arn:aws:iam::{self.account}:role/{name}"
        before = self.roles.get(arn)
        self.roles[arn] = Role(
            name=name,
            arn=arn,
            unique_id=before.unique_id if before else self._letters("AROA", 17),
            trust=parsed(trust, "trust"),
            policies=_policies(policy),
            tags=dict(tags),
            max_session=max_session,
        )
        return arn

    def delete_role(self, name: str) -> bool:
        """Delete a role and, with it, its sessions. Return whether there was one."""
        return self.roles.pop(f"arn:aws:iam::{self.account}:role/{name}", None) is not None

    def delete_user(self, name: str) -> bool:
        """Delete a user and its key. Return whether there was one."""
        user = self.users.pop(name, None)
        if user is not None:
            del self._keys[user.key.access_key]
        return user is not None

    def put_managed(self, name: str, policy: Document) -> str:
        """Make or replace a managed policy, for AssumeRole's PolicyArns, and return its ARN."""
        arn = f"arn:aws:iam::{self.account}:policy/{name}"
        self.managed[arn] = parsed(policy)
        return arn

    def open_session(
        self,
        role: Role,
        name: str,
        *,
        expires_at: float,
        tags: Mapping[str, str] = _NO_TAGS,
        transitive: Iterable[str] = (),
        policies: tuple[Policy, ...] | None = None,
    ) -> Session:
        """Return a new session of a role; whether it may be opened is the caller's matter."""
        key = AccessKey(
            access_key=self._letters("ASIA", 16),
            secret_key=self._secret(30),
            token="IQoJb3JpZ2luX2VjE" + self._secret(360),  # begins and is as long as real ones
            expires_at=expires_at,
        )
        session = Session(
            role_arn=role.arn,
            role_id=role.unique_id,
            name=name,
            arn=f"arn:aws:sts::{self.account}:assumed-role/{role.name}/{name}",
            key=key,
            tags=dict(tags),
            transitive=frozenset(transitive),
            policies=policies,
        )
        self._keys[key.access_key] = session
        return session

    def key(self, access_key: str) -> AccessKey | None:
        """Return what belongs to an access key id, expired or not."""
        owner = self._keys.get(access_key)
        return None if owner is None else owner.key

    def caller_of(self, access_key: str, token: str | None, now: float) -> Caller:
        """Return whose key it is.

        Raises:
            AwsError: Nobody's, the token is not the key's, or it has expired.
        """
        owner = self._keys.get(access_key)
        if owner is None or owner.key.token != token:
            raise unauthenticated("unknown", "json")
        if owner.key.expires_at is not None and now >= owner.key.expires_at:
            raise unauthenticated("expired", "json")
        return self._of_user(owner) if isinstance(owner, User) else self._of_session(owner)

    def _of_user(self, user: User) -> Caller:
        return Caller(
            arn=user.arn,
            principal=user.arn,
            account=self.account,
            unique_id=user.unique_id,
            kind="User",
            tags=user.tags,
            policies=user.policies,
            name=user.name,
        )

    def _of_session(self, session: Session) -> Caller:
        role = self.roles.get(session.role_arn)
        if role is None or role.unique_id != session.role_id:
            # Keys of a deleted role's sessions are nobody's [K].
            raise unauthenticated("unknown", "json")
        return Caller(
            arn=session.arn,
            principal=role.arn,
            account=self.account,
            unique_id=f"{role.unique_id}:{session.name}",
            kind="AssumedRole",
            tags=_overridden(role.tags, session.tags),
            policies=role.policies,
            session_policies=session.policies,
            transitive=session.transitive,
            expires_at=session.key.expires_at,
        )

    def _lasting_key(self) -> AccessKey:
        return AccessKey(access_key=self._letters("AKIA", 16), secret_key=self._secret(30))

    def _letters(self, prefix: str, count: int) -> str:
        return prefix + "".join(self._random.choices(_BASE32, k=count))

    def _secret(self, size: int) -> str:
        return base64.b64encode(self._random.randbytes(size)).decode("ascii")


def _overridden(below: Mapping[str, str], above: Mapping[str, str]) -> dict[str, str]:
    """Return both, those above instead of those below; keys ignore case [M]."""
    taken = {key.casefold() for key in above}
    return {key: value for key, value in below.items() if key.casefold() not in taken} | dict(above)


def _policies(policy: Document | Sequence[Document] | None) -> tuple[Policy, ...]:
    if policy is None:
        return ()
    if isinstance(policy, str | Mapping):
        return (parsed(policy),)
    return tuple(parsed(each) for each in policy)
