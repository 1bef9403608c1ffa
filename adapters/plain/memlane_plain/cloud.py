"""Settings of a client in AWS: where, who asks, and which model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from memlane import ValidationError
from memlane.patterns import lazy
from memlane.protocols import Credentials

__all__ = ("LOCAL_MODEL", "SCHEME", "AwsSettings", "Place")

SCHEME: Final = "s3vectors://"
LOCAL_MODEL: Final = "local"
"""The name of the built-in model, among those of Bedrock."""

_BUCKET: Final = lazy(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_INDEX: Final = lazy(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENDPOINTS: Final = {
    "*": "AWS_ENDPOINT_URL",
    "s3vectors": "AWS_ENDPOINT_URL_S3VECTORS",
    "bedrock": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "sts": "AWS_ENDPOINT_URL_STS",
    "dynamodb": "AWS_ENDPOINT_URL_DYNAMODB",
}
_CONCURRENCY: Final = 128
_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Place:
    """A vector bucket, and the one index in it where all tenants share one.

    Args:
        bucket: The vector bucket's name.
        index: The shared index; None for an index per tenant.
    """

    bucket: str
    index: str | None = None

    @classmethod
    def of(cls, url: str) -> Place:
        """Return what an `s3vectors://` url names.

        Raises:
            ValidationError: It names no bucket there can be.
        """
        bucket, slash, index = url.removeprefix(SCHEME).partition("/")
        if not _BUCKET().fullmatch(bucket):
            raise ValidationError(
                f"{bucket!r} is no name of a vector bucket"
                if bucket
                else "the url names no bucket",
                operation="connect",
                remedy="write it as s3vectors://my-bucket: 3 to 63 of a-z, 0-9 and '-'; the "
                "region comes from AWS_REGION",
            )
        if slash and index and not _INDEX().fullmatch(index):
            raise ValidationError(
                f"{index!r} is no name of an index",
                operation="connect",
                remedy="write it as s3vectors://my-bucket/my-index: 3 to 63 of a-z, 0-9, '.', '-'",
            )
        return cls(bucket, index or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """What only a client in AWS needs.

    Args:
        region: Where the bucket and the model are.
        profile: The profile whose credentials the host has; the default chain if None.
        host: Credentials the host has, where they are known already.
        role_arn: The role that is assumed for each tenant.
        eraser_role_arn: The role assumed to delete, where `role_arn` may not.
        external_id: What the role's trust policy asks for.
        embedding_model: A model of Bedrock, or "local" for the built-in one.
        base_model: The model behind an ARN that does not say it.
        dimensions: Components a vector; the model's own choice if None.
        endpoint_urls: By service, or "*" for all others, in place of AWS's own.
        ca_bundle: A file of the authorities to trust, in place of the system's.
        proxy: The proxy all requests go through.
        no_proxy: Hosts that are asked without it, as NO_PROXY names them.
        fips: Ask FIPS endpoints.
        dual_stack: Ask dual-stack endpoints.
        concurrency: Requests at once.
        auto_onboard: Make a tenant's index when it is missing, with the host's credentials.
    """

    region: str | None = None
    profile: str | None = None
    host: Credentials | None = None
    role_arn: str | None = None
    eraser_role_arn: str | None = None
    external_id: str | None = None
    embedding_model: str | None = None
    base_model: str | None = None
    dimensions: int | None = None
    endpoint_urls: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ca_bundle: str | None = None
    proxy: str | None = field(default=None, repr=False)  # it may hold a password
    no_proxy: tuple[str, ...] = ()
    fips: bool = False
    dual_stack: bool = False
    concurrency: int = _CONCURRENCY
    auto_onboard: bool = False

    def __post_init__(self) -> None:
        _check_count("concurrency", self.concurrency)
        _check_count("dimensions", self.dimensions)
        for url in self.endpoint_urls.values():
            if not url.startswith(("http://", "https://")):
                raise ValidationError(
                    "an endpoint url begins with neither http:// nor https://",
                    operation="connect",
                    remedy="write it as https://host or http://127.0.0.1:8001",
                )

    @classmethod
    def from_variables(cls, env: Mapping[str, str]) -> AwsSettings:
        """Return what AWS's own variables and memlane's say.

        Raises:
            ValidationError: A variable holds what it may not.
        """
        ignored = _flag(env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        urls = {name: env[key] for name, key in _ENDPOINTS.items() if env.get(key) and not ignored}
        proxy = env.get("https_proxy") or env.get("HTTPS_PROXY") or None
        return cls(
            region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or None,
            profile=env.get("AWS_PROFILE") or None,
            host=_credentials(env),
            role_arn=env.get("MEMLANE_ROLE_ARN") or None,
            eraser_role_arn=env.get("MEMLANE_ERASER_ROLE_ARN") or None,
            external_id=env.get("MEMLANE_EXTERNAL_ID") or None,
            embedding_model=env.get("MEMLANE_EMBEDDING_MODEL") or None,
            dimensions=_number(env, "MEMLANE_DIMENSIONS"),
            endpoint_urls=MappingProxyType(urls),
            ca_bundle=env.get("AWS_CA_BUNDLE") or None,
            proxy=proxy,
            no_proxy=_spared(env) if proxy else (),
            fips=_flag(env, "AWS_USE_FIPS_ENDPOINT"),
            dual_stack=_flag(env, "AWS_USE_DUALSTACK_ENDPOINT"),
            concurrency=_number(env, "MEMLANE_CONCURRENCY") or _CONCURRENCY,
            auto_onboard=_flag(env, "MEMLANE_AUTO_ONBOARD"),
        )

    @property
    def host_kind(self) -> str:
        """Where the host's credentials come from, without any of them."""
        if self.host is not None:
            return "keys of the environment"
        return f"profile {self.profile}" if self.profile else "the default chain"


def _check_count(name: str, count: object) -> None:
    if count is None:
        return
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValidationError(
            f"{name} must be a whole number from 1",
            operation="connect",
            remedy="leave it out to keep the default",
        )


def _credentials(env: Mapping[str, str]) -> Credentials | None:
    access, secret = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    if bool(access) != bool(secret):
        there, missing = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
        if not access:
            there, missing = missing, there
        raise ValidationError(
            f"{there} is set and {missing} is not", remedy="set both of them, or neither"
        )
    if not access or not secret:
        return None
    token = env.get("AWS_SESSION_TOKEN") or None
    return Credentials(access_key=access, secret_key=secret, session_token=token)


def _spared(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the environment's proxy is not for: it is https's alone."""
    named = env.get("no_proxy") or env.get("NO_PROXY") or ""
    return ("http://*", *(name for each in named.split(",") if (name := each.strip())))


def _flag(env: Mapping[str, str], name: str) -> bool:
    told = env.get(name, "").strip().lower()
    if told not in _YES | _NO:
        raise ValidationError(f"{name} is {told!r}", remedy="set it to true or false, or unset it")
    return told in _YES


def _number(env: Mapping[str, str], name: str) -> int | None:
    told = env.get(name, "").strip()
    if not told:
        return None
    # Not every string of digits is a number that int() takes.
    if not (told.isascii() and told.isdigit()) or not int(told):
        raise ValidationError(f"{name} is {told!r}", remedy="set it to a whole number from 1")
    return int(told)
