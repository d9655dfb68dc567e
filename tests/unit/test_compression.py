"""Content codings: what is read back is what was written, and bad streams cost little."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import FhirError, Malformed, TooLarge, UnsupportedMediaType
from fhir_server.http import compression

PLAIN = b'{"resourceType":"Patient"}' * 200


def zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


def zstd_unsized(body: bytes) -> bytes:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return stream.compress(body) + stream.flush()


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        pytest.param("", "", id="no header, no coding"),
        pytest.param("gzip", "gzip", id="gzip"),
        pytest.param("gzip, zstd", "zstd", id="among equals zstd"),
        pytest.param("gzip;q=1.0, zstd;q=0.5", "gzip", id="the better quality"),
        pytest.param("gzip;q=0", "", id="a quality of nothing refuses"),
        pytest.param("gzip;q=x", "", id="a quality that is no number refuses"),
        pytest.param("*", "", id="a star names none"),
        pytest.param("br, deflate", "", id="codings that are not written"),
        pytest.param("X-GZIP", "gzip", id="the old name, in capitals"),
    ],
)
def test_the_coding_that_a_header_likes_best(header: str, coding: str) -> None:
    assert compression.wanted(header) == coding


@given(st.binary(max_size=5_000), st.sampled_from(compression.CODINGS))
async def test_what_is_encoded_is_decoded(body: bytes, coding: str) -> None:
    assert await compression.decode(await compression.encode(body, coding), coding, len(body)) == body


@given(st.lists(st.binary(max_size=300), max_size=9), st.sampled_from(compression.CODINGS))
async def test_a_body_in_parts_is_one_stream(parts: list[bytes], coding: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    made = b"".join([part async for part in compression.encode_chunks(chunks(), coding)])
    whole = b"".join(parts)
    assert await compression.decode(made, coding, len(whole)) == whole


@pytest.mark.parametrize(
    ("body", "coding", "error"),
    [
        pytest.param(PLAIN, "gzip", Malformed, id="no gzip at all"),
        pytest.param(PLAIN, "zstd", Malformed, id="no zstd at all"),
        pytest.param(gzip.compress(PLAIN)[:-9], "gzip", Malformed, id="gzip that is cut"),
        pytest.param(zstd(PLAIN)[:-5], "zstd", Malformed, id="zstd that is cut"),
        pytest.param(gzip.compress(PLAIN) + b"more", "gzip", Malformed, id="bytes after the stream"),
        pytest.param(gzip.compress(b"0" * 50_000_000), "gzip", TooLarge, id="a gzip bomb"),
        pytest.param(zstd(b"0" * 50_000_000), "zstd", TooLarge, id="a zstd bomb"),
        pytest.param(zstd_unsized(b"0" * 50_000_000), "zstd", TooLarge, id="a zstd bomb that hides its size"),
        pytest.param(zlib.compress(PLAIN), "deflate", UnsupportedMediaType, id="a coding that is not read"),
        pytest.param(gzip.compress(PLAIN), "gzip, gzip", UnsupportedMediaType, id="a coding in a coding"),
    ],
)
async def test_what_is_refused(body: bytes, coding: str, error: type[FhirError]) -> None:
    with pytest.raises(error):
        await compression.decode(body, coding, 100_000)
