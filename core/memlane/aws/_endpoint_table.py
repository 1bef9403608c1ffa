"""Where the services are. Written by scripts/endpoint_table.py; edit that instead."""

from __future__ import annotations

from typing import Final

__all__ = ("HOSTS", "ODD_HOSTS", "PARTITIONS")

# Name, pattern of its regions' names, and its two DNS suffixes.
PARTITIONS: Final = (
    ("aws", r"^(us|eu|ap|sa|ca|me|af|il|mx)\-\w+\-\d+$", "amazonaws.com", "api.aws"),
    ("aws-cn", r"^cn\-\w+\-\d+$", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("aws-eusc", r"^eusc\-(de)\-\w+\-\d+$", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("aws-iso", r"^us\-iso\-\w+\-\d+$", "c2s.ic.gov", "api.aws.ic.gov"),
    ("aws-iso-b", r"^us\-isob\-\w+\-\d+$", "sc2s.sgov.gov", "api.aws.scloud"),
    ("aws-iso-e", r"^eu\-isoe\-\w+\-\d+$", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("aws-iso-f", r"^us\-isof\-\w+\-\d+$", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    ("aws-us-gov", r"^us\-gov\-\w+\-\d+$", "amazonaws.com", "api.aws"),
)

# Plain, dual-stack, FIPS, and FIPS dual-stack.
HOSTS: Final = {
    "bedrock": (
        "bedrock-runtime.{region}.{plain}",
        "bedrock-runtime.{region}.{dual}",
        "bedrock-runtime-fips.{region}.{plain}",
        "bedrock-runtime-fips.{region}.{dual}",
    ),
    "dynamodb": (
        "dynamodb.{region}.{plain}",
        "dynamodb.{region}.{dual}",
        "dynamodb-fips.{region}.{plain}",
        "dynamodb-fips.{region}.{dual}",
    ),
    "s3vectors": (
        "s3vectors.{region}.{dual}",
        "s3vectors.{region}.{dual}",
        "s3vectors-fips.{region}.{dual}",
        "s3vectors-fips.{region}.{dual}",
    ),
    "sts": (
        "sts.{region}.{plain}",
        "sts.{region}.{dual}",
        "sts-fips.{region}.{plain}",
        "sts-fips.{region}.{dual}",
    ),
}

ODD_HOSTS: Final = {
    ("dynamodb", "aws-us-gov"): (
        "dynamodb.{region}.{plain}",
        "dynamodb.{region}.{dual}",
        "dynamodb.{region}.{plain}",
        "dynamodb-fips.{region}.{dual}",
    ),
    ("sts", "aws-us-gov"): (
        "sts.{region}.{plain}",
        "sts.{region}.{dual}",
        "sts.{region}.{plain}",
        "sts-fips.{region}.{dual}",
    ),
}
