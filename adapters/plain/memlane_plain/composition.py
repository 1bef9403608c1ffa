"""The parts of a client in AWS, put together. Imported only when a client needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

from memlane import ValidationError
from memlane.aws.bedrock import BedrockEmbedder
from memlane.aws.credentials import (
    AmbientCredentials,
    AssumeRoleCredentials,
    HostCredentials,
    HostProvider,
    StaticCredentials,
    TenantCredentials,
)
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.protocols import Clock, CredentialProvider
from memlane_plain.cloud import AwsSettings, Place
from memlane_plain.settings import Settings

__all__ = ("AwsParts", "aws_backend", "aws_embedder", "aws_parts")

DEFAULT_MODEL: Final = "amazon.titan-embed-text-v2:0"


@dataclass(frozen=True, slots=True)
class AwsParts:
    """What everything in AWS stands on: one connection pool, and who the host is.

    Args:
        plane: What requests go through.
        host: The host's own credentials.
    """

    plane: DataPlane
    host: HostCredentials


def aws_parts(
    aws: AwsSettings, *, host: HostProvider | None = None, clock: Clock | None = None
) -> AwsParts:
    """Return what store and model share. Nothing is opened.

    Raises:
        ValidationError: No region is named, or it is none.
    """
    if aws.region is None:
        raise ValidationError(
            "no AWS region is named",
            operation="connect",
            remedy="set AWS_REGION, or pass region='eu-central-1'",
        )
    plane = DataPlane(
        region=aws.region,
        endpoint_urls=dict(aws.endpoint_urls),
        fips=aws.fips,
        dual_stack=aws.dual_stack,
        concurrency=aws.concurrency,
        ca_bundle=aws.ca_bundle,
        proxy=aws.proxy,
        no_proxy=aws.no_proxy,
        clock=clock,
    )
    if host is None:
        host = _host(aws)
    return AwsParts(plane, HostCredentials(host, clock=clock))


def _host(aws: AwsSettings) -> HostProvider:
    if aws.host is None:
        return AmbientCredentials(aws.profile)
    # With keys at hand neither aioboto3 nor botocore is imported: a third of a second.
    return StaticCredentials(aws.host.access_key, aws.host.secret_key, aws.host.session_token)


def aws_embedder(parts: AwsParts, aws: AwsSettings) -> BedrockEmbedder:
    """Return the model of Bedrock that the settings name.

    Raises:
        ValidationError: There is no such model, or not with such dimensions.
    """
    return BedrockEmbedder(
        aws.embedding_model or DEFAULT_MODEL,
        plane=parts.plane,
        credentials=parts.host,
        dimensions=aws.dimensions,
        base_model=aws.base_model,
    )


def aws_backend(
    parts: AwsParts,
    settings: Settings,
    *,
    place: Place,
    provider: CredentialProvider | None = None,
    clock: Clock | None = None,
) -> S3VectorsBackend:
    """Return the store that the settings name.

    Raises:
        ValidationError: Each tenant has an index, and nothing says how to become a tenant.
    """
    aws, per_user = settings.aws, settings.tenancy == "per-user"
    if place.index is not None:
        if provider is not None:
            _refuse_provider()
        return S3VectorsBackend(
            place.bucket,
            plane=parts.plane,
            credentials=None,
            host=parts.host,
            index=place.index,
            auto_onboard=aws.auto_onboard,
            clock=clock,
        )
    eraser: CredentialProvider | None = None
    if provider is None:
        if aws.role_arn is None:
            _refuse_nobody()
        provider = _role(aws.role_arn, parts, aws, per_user=per_user, clock=clock)
        if aws.eraser_role_arn is not None:
            eraser = _role(aws.eraser_role_arn, parts, aws, per_user=per_user, clock=clock)
    return S3VectorsBackend(
        place.bucket,
        plane=parts.plane,
        credentials=TenantCredentials(provider, per_user=per_user, clock=clock),
        host=parts.host,
        eraser=None
        if eraser is None
        else TenantCredentials(eraser, per_user=per_user, clock=clock),
        per_user=per_user,
        auto_onboard=aws.auto_onboard,
        clock=clock,
    )


def _role(
    arn: str, parts: AwsParts, aws: AwsSettings, *, per_user: bool, clock: Clock | None
) -> AssumeRoleCredentials:
    return AssumeRoleCredentials(
        arn,
        plane=parts.plane,
        host=parts.host,
        per_user=per_user,
        external_id=aws.external_id,
        clock=clock,
    )


def _refuse_nobody() -> NoReturn:
    raise ValidationError(
        "each tenant has an index of its own, and nothing says how to become a tenant",
        operation="connect",
        remedy="pass role_arn (or MEMLANE_ROLE_ARN), a role that trusts this host, or "
        "credentials, a provider of your own; s3vectors://bucket/index is one index for all, "
        "which IAM does not divide",
    )


def _refuse_provider() -> NoReturn:
    raise ValidationError(
        "the url names one index that all tenants share, and credentials are given for each",
        operation="connect",
        remedy="leave the index out: s3vectors://bucket",
    )
