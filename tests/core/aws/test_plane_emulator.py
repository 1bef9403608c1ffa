"""Against a server that checks signatures, expiry and clocks as the real one does."""

import anyio
import orjson
import pytest

from memlane.aws.answers import decode
from memlane.aws.plane import DataPlane
from memlane.aws.wire import Reply, Request, RetryPolicy
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    RequestRejectedError,
    ServiceError,
    StoreNotFoundError,
    UnavailableError,
)
from memlane.protocols import Credentials
from memlane.testing.emulator import Emulator

pytestmark = pytest.mark.anyio


def request(operation: str, /, *, idempotent: bool = True, **members: object) -> Request:
    return Request(
        "s3vectors", operation, f"/{operation}", orjson.dumps(members), idempotent=idempotent
    )


LIST = request("ListVectorBuckets")


def plane_at(emulator: Emulator, **options: object) -> DataPlane:
    return DataPlane(
        region=emulator.region,
        endpoint_urls={"*": emulator.url},
        random=lambda: 0.0,
        **options,  # type: ignore[arg-type]
    )


async def test_a_bucket_is_made_and_listed(emulator: Emulator) -> None:
    """Signed JSON there and back, and the errors of the service by their own names."""
    plane = plane_at(emulator)
    await plane.enter()
    make = request("CreateVectorBucket", idempotent=False, vectorBucketName="memories")
    assert "vectorBucketArn" in decode(await plane.call(make, emulator.admin))
    listed = decode(await plane.call(LIST, emulator.admin))
    assert [bucket["vectorBucketName"] for bucket in listed["vectorBuckets"]] == ["memories"]
    with pytest.raises(ServiceError) as conflict:
        await plane.call(make, emulator.admin)
    assert (conflict.value.code, conflict.value.status) == ("ConflictException", 409)
    with pytest.raises(StoreNotFoundError):
        await plane.call(request("GetVectorBucket", vectorBucketName="nothing"), emulator.admin)
    with pytest.raises(RequestRejectedError) as rejected:
        await plane.call(request("GetVectorBucket", vectorBucketName="!"), emulator.admin)
    assert rejected.value.request_id
    await plane.aclose()


async def test_tags_have_the_arn_in_their_path(emulator: Emulator) -> None:
    """Encoded once on the wire and twice in the signature."""
    plane = plane_at(emulator)
    made = request("CreateVectorBucket", vectorBucketName="memories", tags={"team": "a"})
    arn = decode(await plane.call(made, emulator.admin))["vectorBucketArn"]
    path = "/tags/" + arn.replace(":", "%3A").replace("/", "%2F")
    tags = Request("s3vectors", "ListTagsForResource", path, b"", method="GET", content_type="")
    assert decode(await plane.call(tags, emulator.admin))["tags"] == {"team": "a"}
    untag = Request(
        "s3vectors", "UntagResource", path, b"", method="DELETE", query="tagKeys=team",
        content_type="",
    )  # fmt: skip
    await plane.call(untag, emulator.admin)
    assert decode(await plane.call(tags, emulator.admin))["tags"] == {}
    await plane.aclose()


async def test_who_is_not_known_and_who_may_not(emulator: Emulator) -> None:
    """Two different errors, for the callers do different things about them."""
    plane = plane_at(emulator)
    wrong = Credentials(
        access_key=emulator.admin.access_key, secret_key="of-somebody-else-entirely"
    )
    nobody = Credentials(access_key="AKIAIOSFODNN7EXAMPLE", secret_key="of-somebody-else-entirely")
    for credentials in (wrong, nobody):
        with pytest.raises(CredentialsError) as refused:
            await plane.call(LIST, credentials)
        assert credentials.secret_key not in f"{refused.value}{refused.value.detail}"
    powerless = await emulator.put_user("powerless")
    with pytest.raises(AccessDeniedError):
        await plane.call(LIST, powerless)
    await plane.aclose()


@pytest.mark.parametrize("seconds", [-7200.0, 7200.0])
async def test_the_services_clock_is_followed(emulator: Emulator, seconds: float) -> None:
    """This machine is two hours off in either direction; after one refusal it is not."""
    plane = plane_at(emulator)
    await emulator.advance(seconds)
    await emulator.counters(reset=True)
    for _ in range(3):
        await plane.call(LIST, emulator.admin)
    assert sum((await emulator.counters()).requests.values()) == 4
    await plane.aclose()


async def test_idle_connections_that_ended(emulator: Emulator) -> None:
    """Nobody notices."""
    plane = plane_at(emulator, retries=RetryPolicy(attempts=1))
    await plane.enter()
    for _ in range(3):
        await plane.call(LIST, emulator.admin)
        await emulator.disconnect()
    await plane.aclose()


@pytest.mark.parametrize("kind", ["reset", "truncate"])
async def test_broken_answers_are_asked_for_again(emulator: Emulator, kind: str) -> None:
    """Where that does no harm; elsewhere the caller decides."""
    plane = plane_at(emulator)
    await plane.call(LIST, emulator.admin)
    await emulator.inject(operation="ListVectorBuckets", kind=kind, times=2)
    assert (await plane.call(LIST, emulator.admin)).status == 200
    await emulator.inject(operation="CreateVectorBucket", kind=kind, times=1)
    make = request("CreateVectorBucket", idempotent=False, vectorBucketName="memories")
    with pytest.raises(UnavailableError):
        await plane.call(make, emulator.admin)
    await plane.aclose()


async def test_thirty_per_cent_throttled_by_it(emulator: Emulator) -> None:
    """Thirty-two callers, no error, and at most 1.6 requests a call."""
    plane = DataPlane(region=emulator.region, endpoint_urls={"*": emulator.url})
    await plane.enter()
    await emulator.inject(operation="ListVectorBuckets", status=429, rate=0.3)
    await emulator.counters(reset=True)
    replies: list[Reply] = []

    async def caller() -> None:
        for _ in range(10):
            replies.append(await plane.call(LIST, emulator.admin))  # noqa: PERF401

    async with anyio.create_task_group() as group:
        for _ in range(32):
            group.start_soon(caller)
    assert len(replies) == 320
    assert sum((await emulator.counters()).requests.values()) <= 1.6 * 320
    await plane.aclose()
