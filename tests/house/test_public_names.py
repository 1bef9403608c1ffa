"""What users import is what is written down, and importing it costs and touches nothing."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import memlane
from memlane import MemoryClient, ScopedMemory, TenantAdmin, errors
from memlane_plain import SyncMemoryClient, SyncTenantAdmin

PACKAGES = (
    "memlane",
    "memlane.aws",
    "memlane.aws.bedrock",
    "memlane.aws.credentials",
    "memlane.aws.s3vectors",
    "memlane.local",
    "memlane.retrieval",
    "memlane.runtime",
    "memlane.testing",
    "memlane.testing.emulator",
    "memlane_plain",
    "memlane_strands",
    "memlane_langchain",
)

CONTRACT = {
    "MemoryClient", "ScopedMemory", "Scope", "MemoryRecord", "Match", "NewMemory", "Message",
    "Page", "ForgetReceipt", "MemoryContext", "Filter", "RetrievalOptions",
}  # fmt: skip

VENDORS = (
    "onnxruntime", "tokenizers", "boto3", "botocore", "aioboto3", "aiobotocore", "aiohttp",
    "httptools", "aiohappyeyeballs",
    "orjson", "strands",
    "langchain_core", "langgraph", "typer", "rich", "pydantic", "trio", "sqlite3",
)  # fmt: skip


def test_the_contract_is_exported() -> None:
    """The names the design promises can be imported from memlane."""
    assert set(memlane.__all__) >= CONTRACT


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_and_complete(name: str) -> None:
    """`__all__` is a sorted tuple of names that exist, and nothing public is missing from it."""
    module = importlib.import_module(name)
    names = module.__all__
    assert isinstance(names, tuple)
    assert list(names) == sorted(names)
    assert len(set(names)) == len(names)
    public = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and key != "TYPE_CHECKING"
        and not inspect.ismodule(value)
        and getattr(value, "__module__", name).partition(".")[0].startswith("memlane")
    }
    assert public <= set(names)
    for key in names:
        assert hasattr(module, key)


@pytest.mark.parametrize("module", sorted(Path("core/memlane").glob("*.py")), ids=lambda p: p.stem)
def test_each_core_module_says_what_it_exports(module: Path) -> None:
    """Every module of the core has an `__all__` that equals its public definitions."""
    if module.stem == "__init__":
        return
    loaded = importlib.import_module(f"memlane.{module.stem}")
    for key in loaded.__all__:
        assert hasattr(loaded, key), key


def _isolated(code: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_importing_loads_no_vendor() -> None:
    """`import memlane` loads the standard library, numpy and anyio, and no vendor's module."""
    found = _isolated(
        "import sys, json, memlane\n"
        f"print(json.dumps({{n: n in sys.modules for n in {VENDORS!r}}}))"
    )
    assert [name for name, loaded in found.items() if loaded] == []


def test_each_error_is_exported_and_explained() -> None:
    """What a caller may catch can be imported from memlane, and troubleshooting says what to do."""
    kinds = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)} - {
        "MemlaneError"
    }
    assert kinds <= set(memlane.__all__)
    pages = "".join(Path("docs", name).read_text() for name in ("troubleshooting.md", "aws.md"))
    cloud = {name for name in kinds if issubclass(getattr(errors, name), errors.ServiceError)}
    assert {name for name in cloud if name not in pages} == set()


def test_the_cloud_is_imported_by_the_name() -> None:
    """`import memlane.aws` costs nothing, one name of it what that name needs, and no botocore."""
    found = _isolated(
        "import sys, json, memlane.aws\n"
        "before = 'httptools' in sys.modules\n"
        "from memlane.aws import BedrockEmbedder, S3VectorsBackend, StaticCredentials\n"
        "print(json.dumps({'before': before, 'botocore': 'botocore' in sys.modules}))"
    )
    assert found == {"before": False, "botocore": False}


def test_importing_reads_no_environment_and_touches_no_file() -> None:
    """`import memlane` reads no variable and opens no file but Python's own modules."""
    found = _isolated(
        "import json, os, sys, numpy, anyio, asyncio, concurrent.futures, secrets, sqlite3\n"
        "import xml.sax.saxutils\n"
        "seen = []\n"
        "class Watched(type(os.environ)):\n"
        "    def __getitem__(self, key):\n"
        "        seen.append(str(key)); return super().__getitem__(key)\n"
        "os.environ.__class__ = Watched\n"
        "opened = []\n"
        "def hook(event, args):\n"
        "    if event == 'open' and isinstance(args[0], str):\n"
        "        if not args[0].endswith(('.py', '.pyc', '.so', '.pth')):\n"
        "            opened.append(args[0])\n"
        "sys.addaudithook(hook)\n"
        "import memlane, memlane.local, memlane_plain\n"
        "print(json.dumps({'seen': seen, 'opened': opened}))"
    )
    assert found == {"seen": [], "opened": []}


def _shape(function: object) -> dict[str, object]:
    parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    return {
        name: (each.kind, each.default)
        for name, each in parameters.items()
        if name not in {"self", "scope"}
    }


VERBS = (
    "store", "store_many", "retrieve", "context", "get", "list", "iterate", "count", "update",
    "delete", "forget", "history", "restore", "export", "import_records", "last_receipt",
)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("mirror", [ScopedMemory, SyncMemoryClient])
def test_mirrors_have_the_clients_verbs(mirror: type, verb: str) -> None:
    """The scoped and the synchronous client take the arguments of MemoryClient, by name."""
    assert _shape(getattr(mirror, verb)) == _shape(getattr(MemoryClient, verb))


def test_the_synchronous_administration_is_whole() -> None:
    """Whatever can be done for a tenant can be done without `await`, with the same arguments."""
    verbs = [name for name in vars(TenantAdmin) if not name.startswith("_") and name != "tenant"]
    assert len(verbs) >= 8
    for verb in verbs:
        assert _shape(getattr(SyncTenantAdmin, verb)) == _shape(getattr(TenantAdmin, verb))
