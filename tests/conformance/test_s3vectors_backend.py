"""The backend on S3 Vectors is a backend, with an index for each tenant and with one for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from urllib.parse import unquote

import pytest

from memlane.aws.credentials import (
    AssumeRoleCredentials,
    HostCredentials,
    StaticCredentials,
    TenantCredentials,
)
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.protocols import VectorBackend
from memlane.testing import TenantIsolationConformance, VectorBackendConformance
from memlane.testing.emulator import Emulator

BUCKET = "memories"


class S3VectorsSuite(VectorBackendConformance, TenantIsolationConformance):
    """What the emulator holds, read by its own control plane, is the oracle."""

    @pytest.fixture
    def oracle(self, emulator: Emulator) -> Emulator:
        """Keep the emulator where `raw_ids`, which is given none, finds it."""
        emulator.blocking.create_bucket(BUCKET)
        self._emulator = emulator
        return emulator

    def raw_ids(self, backend: VectorBackend) -> Collection[str] | None:
        del backend
        records: list[str] = []
        blocking = self._emulator.blocking
        for index in blocking.indexes().get(BUCKET, {}):
            keys = set(blocking.vectors(BUCKET, index))
            for key in keys:
                parts = key.split("/")
                if len(parts) != 3 or parts[0] == "memlane":
                    continue  # a note of memlane's own
                whole, _, window = parts[2].partition("#")
                if window:
                    assert "/".join([*parts[:2], whole]) in keys, "a window without its record"
                else:
                    records.append(unquote(whole))
        return records


class TestIndexPerTenant(S3VectorsSuite):
    """Each tenant's requests are signed by a session of its own."""

    @pytest.fixture
    async def backend(self, oracle: Emulator) -> AsyncIterator[S3VectorsBackend]:
        plane = DataPlane(region=oracle.region, endpoint_urls={"*": oracle.url})
        host = HostCredentials(StaticCredentials(oracle.admin.access_key, oracle.admin.secret_key))
        sessions = AssumeRoleCredentials(
            oracle.tenant_role, plane=plane, host=host, allow_no_tenant=True
        )
        opened = S3VectorsBackend(
            BUCKET,
            plane=plane,
            credentials=TenantCredentials(sessions),
            host=host,
            auto_onboard=True,
            owns_plane=True,
        )
        await opened.enter()
        yield opened
        await opened.aclose()


class TestSharedIndex(S3VectorsSuite):
    """All tenants lie in one index, which this library keeps apart."""

    moves = False  # an index has one dimension

    @pytest.fixture
    async def backend(self, oracle: Emulator) -> AsyncIterator[S3VectorsBackend]:
        plane = DataPlane(region=oracle.region, endpoint_urls={"*": oracle.url})
        opened = S3VectorsBackend(
            BUCKET,
            plane=plane,
            host=HostCredentials(
                StaticCredentials(oracle.admin.access_key, oracle.admin.secret_key)
            ),
            index="shared",
            auto_onboard=True,
            owns_plane=True,
        )
        yield opened
        await opened.aclose()
