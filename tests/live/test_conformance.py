"""The backend is a backend on S3 Vectors itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest

from live.account import Account
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.testing import TenantIsolationConformance, VectorBackendConformance

_numbers = count(1)


class TestOnS3Vectors(VectorBackendConformance, TenantIsolationConformance):
    """Each test has an index of its own, that all its tenants share: roles are tested elsewhere."""

    @pytest.fixture
    async def backend(self, account: Account) -> AsyncIterator[S3VectorsBackend]:
        name = f"conformance-{next(_numbers)}"
        opened = S3VectorsBackend(
            account.bucket,
            plane=account.plane,
            host=account.host,
            index=name,
            auto_onboard=True,
        )
        yield opened
        await opened.aclose()
