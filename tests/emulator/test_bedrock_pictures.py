"""The emulated Nova 2 sees what a picture's comment says, and refuses what is no such picture."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pytest

from memlane.testing import gif, png
from memlane.testing.emulator.bedrock import invoke
from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.switches import Switches

NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab"
BICYCLE = "a red bicycle leaning on a brick wall"
WEBP = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0"


def jpeg(shows: str) -> bytes:
    raw = shows.encode()
    return JPEG + b"\xff\xfe" + struct.pack(">H", len(raw) + 2) + raw + b"\xff\xda\x00\x02\x01"


def ask(dimensions: int = 1_024, purpose: str = "GENERIC_INDEX", **given: Any) -> Any:
    params = {"embeddingPurpose": purpose, "embeddingDimension": dimensions, **given}
    body = {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": params,
    }
    status, _, answer = invoke(NOVA, orjson.dumps(body), Switches())
    assert status == 200
    [found] = orjson.loads(answer)["embeddings"]
    return found


def image(content: bytes, form: str, **more: Any) -> dict[str, Any]:
    source = {"bytes": base64.b64encode(content).decode()}
    return {"image": {"format": form, "source": source, **more}}


def seen(content: bytes, form: str = "png", **more: Any) -> npt.NDArray[np.float64]:
    return np.array(ask(**image(content, form), **more)["embedding"])


def read(text: str, **more: Any) -> npt.NDArray[np.float64]:
    text_ = {"truncationMode": "NONE", "value": text}
    return np.array(ask(text=text_, **more)["embedding"])


@pytest.mark.parametrize(
    ("content", "form"), [(png(BICYCLE), "png"), (gif(BICYCLE), "gif"), (jpeg(BICYCLE), "jpeg")]
)
@pytest.mark.parametrize("dimensions", [256, 384, 1_024, 3_072])
def test_a_picture_is_near_its_caption(content: bytes, form: str, dimensions: int) -> None:
    """Nearer to its own words than to others, asked in any purpose; and no text's own vector."""
    found = seen(content, form, dimensions=dimensions)
    asked = read("where is the red bicycle", purpose="GENERIC_RETRIEVAL", dimensions=dimensions)
    other = read("the invoice was paid in March", dimensions=dimensions)
    assert found @ asked > found @ other + 0.2
    assert 0.7 < found @ read(BICYCLE, dimensions=dimensions) < 0.98
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-3)


def test_pictures_are_told_apart() -> None:
    """The same bytes have the same vector; others of the same words another one."""
    first, same = seen(png(BICYCLE)), seen(png(BICYCLE))
    other = seen(png(BICYCLE, colour=(1, 2, 3)))
    assert (first == same).all()
    assert 0.6 < first @ other < 0.99


def test_a_picture_that_says_nothing_is_near_nothing() -> None:
    """Without a comment there is nothing to be found by; it has a vector all the same."""
    assert seen(png()) @ read(BICYCLE) < 0.4
    assert seen(WEBP, "webp").shape == (1_024,)
    assert ask(**image(png(), "png", detailLevel="DOCUMENT_IMAGE"))["embeddingType"] == "IMAGE"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (image(png(), "jpeg"), "not an image of format jpeg"),
        (image(b"no picture", "png"), "not an image of format png"),
        (image(png(), "bmp"), "not a valid enum value"),
        (image(b"", "png"), "maxLength"),
        (image(png(), "png", detailLevel="FINE"), "not a valid enum value"),
        ({"image": {"format": "png", "source": {"bytes": "%%"}}}, "not base64"),
        ({"image": {"source": {"bytes": "aaaa"}}}, "required key"),
    ],
)
def test_refused(given: dict[str, Any], words: str) -> None:
    """Another format than it says, none that is known, nothing, or no base64."""
    with pytest.raises(AwsError, match=words) as caught:
        ask(**given)
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)


def test_a_request_may_be_so_large() -> None:
    """A body of more than 25,000,000 bytes is refused, and one below it is not."""
    most = 25_000_000 * 3 // 4
    with pytest.raises(AwsError, match="too long"):
        ask(**image(png() + bytes(most), "png"))
    assert ask(**image(png() + bytes(18_000_000 - 500), "png"))["embeddingType"] == "IMAGE"
