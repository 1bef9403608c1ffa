"""Which index is whose: told once for each, and never another's."""

from __future__ import annotations

from memlane.aws.s3vectors.naming import IndexTarget, target_of
from memlane.layout import index_name, tenant_code, user_code
from memlane.testing.samples import SUSPECTS


def test_an_index_is_its_tenants_or_its_users() -> None:
    """Asked again, it is the same; where each user has one, a tenant's are as many as users."""
    for _ in range(2):
        for scope in SUSPECTS:
            of_tenant = IndexTarget("bucket", index_name(tenant_code(scope.tenant)))
            of_user = IndexTarget("bucket", index_name(user_code(scope.tenant, scope.user)))
            assert target_of("bucket", scope, per_user=False) == of_tenant
            assert target_of("bucket", scope, per_user=True) == of_user
            assert target_of("other", scope, per_user=True).bucket == "other"
