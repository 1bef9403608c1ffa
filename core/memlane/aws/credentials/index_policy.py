"""A session can be given less than its role has: one index, and nothing but reading."""

from __future__ import annotations

import json
from typing import Final, Literal, TypeAlias

from memlane.errors import ValidationError
from memlane.layout import index_name, tenant_code, user_code
from memlane.patterns import lazy
from memlane.scope import Scope

__all__ = ("IndexPolicy", "Rights")

Rights: TypeAlias = Literal["read", "write", "erase", "all"]
"""What a session may do: `write` and `erase` include reading, `all` is all of it."""

_READ: Final = ("GetIndex", "GetVectors", "ListVectors", "QueryVectors")
_ACTIONS: Final[dict[Rights, tuple[str, ...]]] = {
    "read": _READ,
    "write": (*_READ, "PutVectors"),
    "erase": (*_READ, "DeleteVectors"),
    "all": (*_READ, "PutVectors", "DeleteVectors"),
}

_INDEX = lazy(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BUCKET_ARN = lazy(r"arn:[a-z0-9-]+:s3vectors:[a-z0-9-]+:[0-9]{12}:bucket/[a-z0-9-]{3,63}")


class IndexPolicy:
    """Makes session policies for `AssumeRoleCredentials`: the scope's own index, some actions.

    A session has what both its role and its policy allow. The role's policy keeps tenants apart
    already; this holds even where the role's was written too widely.

    Args:
        bucket_arn: `arn:aws:s3vectors:<region>:<account>:bucket/<name>`.
        allow: What is left.
        per_user: Whether each user has an index of their own.
        index: The one index that all tenants share; None for an index for each.

    Raises:
        ValidationError: An argument is none of this.
    """

    def __init__(
        self,
        bucket_arn: str,
        *,
        allow: Rights = "all",
        per_user: bool = False,
        index: str | None = None,
    ) -> None:
        if not isinstance(bucket_arn, str) or not _BUCKET_ARN().fullmatch(bucket_arn):
            raise ValidationError(
                "bucket_arn is not the ARN of a vector bucket",
                remedy="pass arn:aws:s3vectors:<region>:<account>:bucket/<name>",
            )
        if allow not in _ACTIONS:
            raise ValidationError(
                f"allow is {allow!r}", remedy="pass one of " + ", ".join(map(repr, _ACTIONS))
            )
        if index is not None and (not isinstance(index, str) or not _INDEX().fullmatch(index)):
            # An asterisk would be every tenant's.
            raise ValidationError(
                "index is not the name of an index",
                remedy="pass 3 to 63 of a-z, 0-9, dots and hyphens, or leave it out",
            )
        if index is not None and per_user:
            raise ValidationError(
                "an index for each user is not one that all share",
                remedy="leave out index or per_user",
            )
        self._bucket_arn = bucket_arn
        self._actions = [f"s3vectors:{action}" for action in _ACTIONS[allow]]
        self._per_user = per_user
        self._index = index

    @property
    def per_user(self) -> bool:
        """Whether each user has a policy of their own."""
        return self._per_user

    def __call__(self, scope: Scope) -> str:
        """Return the policy as JSON, without blanks, which count."""
        code = user_code(scope.tenant, scope.user) if self._per_user else tenant_code(scope.tenant)
        index = index_name(code) if self._index is None else self._index
        statement = {
            "Effect": "Allow",
            "Action": self._actions,
            "Resource": f"{self._bucket_arn}/index/{index}",
        }
        return json.dumps(
            {"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":")
        )
