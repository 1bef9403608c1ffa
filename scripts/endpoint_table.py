# ruff: noqa: INP001  (a program, not a package)
"""Write core/memlane/aws/_endpoint_table.py from the endpoint rules of the installed botocore.

python scripts/endpoint_table.py [--check]
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import Any

from botocore.endpoint_provider import EndpointProvider
from botocore.loaders import Loader

TABLE = Path(__file__).parents[1] / "core/memlane/aws/_endpoint_table.py"
# Our name of a service, which is its signing name, and botocore's.
SERVICES = {
    "bedrock": "bedrock-runtime",
    "dynamodb": "dynamodb",
    "s3vectors": "s3vectors",
    "sts": "sts",
}
VARIANTS = tuple(product((False, True), repeat=2))
HEAD = '''"""Where the services are. Written by scripts/endpoint_table.py; edit that instead."""

from __future__ import annotations

from typing import Final

__all__ = ("HOSTS", "ODD_HOSTS", "PARTITIONS")

'''


def partitions() -> list[dict[str, Any]]:
    """Return botocore's partitions."""
    return Loader().load_data("partitions")["partitions"]  # type: ignore[no-any-return]


class Rules:
    """botocore's own answer to where a service is."""

    def __init__(self) -> None:
        loader = Loader()
        data = loader.load_data("partitions")
        self._providers = {
            ours: EndpointProvider(loader.load_service_model(theirs, "endpoint-rule-set-1"), data)
            for ours, theirs in SERVICES.items()
        }

    def host(self, service: str, region: str, *, fips: bool, dual_stack: bool) -> str:
        """Return the host."""
        asked: dict[str, Any] = {"Region": region, "UseFIPS": fips}
        if service != "s3vectors":
            asked["UseDualStack"] = dual_stack
        url: str = self._providers[service].resolve_endpoint(**asked).url
        return url.removeprefix("https://")


def pattern(host: str, region: str, outputs: dict[str, Any]) -> str:
    """Return a host with what depends on the region and the partition left open."""
    for key, name in (("dualStackDnsSuffix", "dual"), ("dnsSuffix", "plain")):
        if host.endswith("." + outputs[key]):
            host = host.removesuffix(outputs[key]) + "{" + name + "}"
            break
    return host.replace(f".{region}.", ".{region}.")


def table() -> str:
    """Return the module's text."""
    rules = Rules()
    rows: list[str] = []
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for part in partitions():
        outputs = part["outputs"]
        regions = [name for name in part["regions"] if not name.endswith("-global")]
        rows.append(
            f'    ("{part["id"]}", r"{part["regionRegex"]}", "{outputs["dnsSuffix"]}",'
            f' "{outputs["dualStackDnsSuffix"]}"),\n'
        )
        for service in SERVICES:
            per_region = {
                tuple(
                    pattern(
                        rules.host(service, region, fips=fips, dual_stack=dual), region, outputs
                    )
                    for fips, dual in VARIANTS
                )
                for region in regions
            }
            (found[service, part["id"]],) = per_region
    text = HEAD
    text += "# Name, pattern of its regions' names, and its two DNS suffixes.\n"
    text += "PARTITIONS: Final = (\n" + "".join(rows) + ")\n\n"
    text += "# Plain, dual-stack, FIPS, and FIPS dual-stack.\n"
    text += "HOSTS: Final = {\n"
    for service in SERVICES:
        text += f'    "{service}": (\n'
        text += "".join(f'        "{host}",\n' for host in found[service, "aws"]) + "    ),\n"
    text += "}\n\nODD_HOSTS: Final = {\n"
    for (service, name), hosts in found.items():
        if hosts != found[service, "aws"]:
            text += f'    ("{service}", "{name}"): (\n'
            text += "".join(f'        "{host}",\n' for host in hosts) + "    ),\n"
    return text + "}\n"


def main() -> int:
    """Write the table, or say whether it is what would be written."""
    text = table()
    if "--check" in sys.argv[1:]:
        return int(TABLE.read_text() != text)
    TABLE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
