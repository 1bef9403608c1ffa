"""An answer in a form that nobody knows is one error, and never an empty memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from core.aws.answering import AnsweringServer, Asked, Say
from core.aws.planes import CREDENTIALS, server
from memlane.aws.credentials import StaticCredentials, TenantCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.errors import BackendError
from memlane.scope import Reach, Scope
from memlane.testing.samples import NOW, SPACE, query_for, unit

__all__ = ("server",)

MINE = Scope("ada", tenant="acme")
HERE = Reach.point(MINE, now=NOW)
INDEX = (
    b'{"index":{"dimension":16,"distanceMetric":"cosine","indexMode":"ENHANCED",'
    b'"metadataConfiguration":{"nonFilterableMetadataKeys":'
    b'["content","stored_at","payload","row"]}}}'
)
FORMS = [
    b"{}", b"[]", b"null", b"7", b'"x"', b'{"vectors":null}', b'{"vectors":{}}', b'{"vectors":[7]}',
    b'{"vectors":[{}]}', b'{"vectors":[{"key":7}]}', b'{"index":{}}', b'{"index":null}',
    b'{"index":{"dimension":"x","distanceMetric":"cosine"}}', b"", b"{",
]  # fmt: skip


@pytest.fixture
async def backend(
    server: AnsweringServer,
    anyio_backend: object,  # noqa: ARG001  (closed on the loop that used it)
) -> AsyncIterator[S3VectorsBackend]:
    """A backend at a server that says what the test wants."""
    opened = S3VectorsBackend(
        "memories",
        plane=DataPlane(region="us-east-1", endpoint_urls={"*": server.url}, random=lambda: 0.0),
        credentials=TenantCredentials(
            StaticCredentials(CREDENTIALS.access_key, CREDENTIALS.secret_key)
        ),
        owns_plane=True,
    )
    yield opened
    await opened.aclose()


@pytest.mark.parametrize("form", FORMS)
async def test_an_unknown_form_is_an_error(
    server: AnsweringServer, backend: S3VectorsBackend, form: bytes
) -> None:
    """From describing an index to reading a page, whichever answer it is."""

    def behave(asked: Asked) -> Say:
        return Say(body=INDEX if asked.target == "/GetIndex" else form)

    server.behave = lambda _: Say(body=form)
    with pytest.raises(BackendError):
        await backend.ensure_index(scope=MINE, space=SPACE)
    server.behave = behave
    for call in (
        lambda: backend.query(query_for(unit(0)), reach=HERE),
        lambda: backend.fetch(["a"], reach=HERE),
        lambda: backend.scan(reach=HERE),
        lambda: backend.delete(["a"], reach=HERE),
    ):
        if form == b'{"vectors":{}}':
            continue  # as empty as a list
        with pytest.raises(BackendError):
            await call()
