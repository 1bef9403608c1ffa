"""InvokeModel over HTTP, through botocore: what it returns, and how it is refused."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import get_session

from memlane.protocols import Credentials
from memlane.testing.emulator import Emulator

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-v4:0"
MODEL = "arn:aws:bedrock:us-east-1::foundation-model/"
PROFILE = "arn:aws:bedrock:us-east-1:111122223333:inference-profile/"

Ask = Callable[..., Any]
botocore = functools.cache(get_session)  # reading its models takes a while


@pytest.fixture
def ask(emulator: Emulator) -> Iterator[Ask]:
    """Ask a model without retries, as the host or as somebody else."""
    clients: list[Any] = []

    def invoke(
        model: str = TITAN, credentials: Credentials = emulator.admin, **body: object
    ) -> Any:
        client = botocore().create_client(
            "bedrock-runtime",
            region_name=emulator.region,
            endpoint_url=emulator.url,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            config=Config(retries={"total_max_attempts": 1}),
        )
        clients.append(client)
        return client.invoke_model(modelId=model, body=json.dumps(body or {"inputText": "a seat"}))

    yield invoke
    for each in clients:
        each.close()


def refusal(call: Callable[[], object]) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as caught:
        call()
    told = caught.value.response
    status = told["ResponseMetadata"]["HTTPStatusCode"]
    return told["Error"]["Code"], status, told["Error"]["Message"]


def allowing(*resources: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": list(resources)}
    return {"Version": "2012-10-17", "Statement": statement}


def test_a_vector_and_its_tokens(ask: Ask) -> None:
    answer = ask()
    assert answer["contentType"] == "application/json"
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-bedrock-input-token-count"] == "2"
    assert answer["ResponseMetadata"]["RequestId"]
    assert len(json.loads(answer["body"].read())["embedding"]) == 1_024


def test_a_models_own_words(ask: Ask) -> None:
    assert refusal(lambda: ask(inputText="")) == (
        "ValidationException",
        400,
        (
            "Malformed input request: #/inputText: expected minLength: 1, actual: 0, please "
            "reformat your input and try again."
        ),
    )
    told = refusal(lambda: ask("amazon.nothing-v1"))
    assert told == ("ValidationException", 400, "The provided model identifier is invalid.")


def test_models_by_arn_and_by_profile(ask: Ask) -> None:
    assert ask(MODEL + TITAN)["ResponseMetadata"]["HTTPStatusCode"] == 200
    body = {"texts": ["a seat"], "input_type": "search_query"}
    for model in (COHERE, f"us.{COHERE}", f"{PROFILE}global.{COHERE}"):
        assert ask(model, **body)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_the_model_must_be_allowed(ask: Ask, emulator: Emulator) -> None:
    put_user = emulator.blocking.put_user
    ada = put_user("ada", policy=allowing(MODEL + TITAN))
    assert ask(credentials=ada)["ResponseMetadata"]["HTTPStatusCode"] == 200
    code, status, message = refusal(lambda: ask(COHERE, ada))
    assert (code, status) == ("AccessDeniedException", 403)
    assert message == (
        "User: arn:aws:iam::111122223333:user/ada is not authorized to perform: "
        f"bedrock:InvokeModel on resource: {MODEL}{COHERE} because no identity-based policy "
        "allows the bedrock:InvokeModel action"
    )
    body = {"texts": ["a seat"], "input_type": "search_query"}
    for resources, allowed in (
        ([MODEL + "*"], False),
        ([PROFILE + "us.*"], False),
        ([PROFILE + "us.*", MODEL + "cohere.*"], True),
    ):
        put_user("ada", policy=allowing(*resources))
        if allowed:
            ask(f"us.{COHERE}", ada, **body)
        else:
            call = functools.partial(ask, f"us.{COHERE}", ada, **body)
            assert refusal(call)[0] == "AccessDeniedException"


@pytest.mark.parametrize(
    ("status", "given", "code"),
    [
        (429, None, "ThrottlingException"),
        (429, "ModelNotReadyException", "ModelNotReadyException"),
        (408, None, "ModelTimeoutException"),
        (424, None, "ModelErrorException"),
        (404, None, "ResourceNotFoundException"),
        (503, None, "ServiceUnavailableException"),
        (500, None, "InternalServerException"),
        (400, "ServiceQuotaExceededException", "ServiceQuotaExceededException"),
    ],
)
def test_failures_on_demand(
    ask: Ask, emulator: Emulator, status: int, given: str | None, code: str
) -> None:
    rule = {"operation": "InvokeModel", "status": status, "times": 1}
    emulator.blocking.inject(**rule, **({"code": given} if given else {}))
    assert refusal(ask)[:2] == (code, status)
    assert ask()["ResponseMetadata"]["HTTPStatusCode"] == 200
