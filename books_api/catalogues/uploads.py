"""The file in a request to import: as the body, or in a form; as it is, or with gzip.

It may have IMPORT_BODY_MAX bytes, 16 MiB, also when it is unpacked.
"""

import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from flask import Request
from werkzeug.exceptions import BadRequest, ClientDisconnected, RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser

from books_api.catalogues.readers import Format
from books_api.config import IMPORT_BODY_MAX
from books_api.web.parsing import check_body, check_end

IN_MEMORY = CHUNK = 1024 * 1024
MEMBERS_MAX = 1_000  # of gzip: 16 MiB can hold 800,000 empty ones
FORM = "multipart/form-data"
FORMATS: dict[str, Format | None] = {
    "text/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "text/tab-separated-values": "csv",
    "application/json": "json",
    "application/vnd.ms-excel": None,  # what Windows calls a CSV file
    "application/octet-stream": None,
}


@contextmanager
def received_file(request: Request) -> Iterator[tuple[IO[bytes], Format | None]]:
    """Receive all of the file, rewound; a request that is cut off is refused before it acts."""
    check_body(request, *FORMATS, FORM, codings=("gzip",))
    with ExitStack() as stack:
        new_file = partial(_new_file, stack)
        file = _receive(request, new_file())
        if request.content_encoding and request.content_encoding.lower() == "gzip":
            file = _decode(file, new_file())
        media_type = request.mimetype
        if media_type == FORM:
            file, media_type = _read_form(file, request, new_file)
        yield file, FORMATS.get(media_type)


def _new_file(stack: ExitStack, **kwargs: Any) -> IO[bytes]:
    return cast(IO[bytes], stack.enter_context(SpooledTemporaryFile(IN_MEMORY)))


def _receive(request: Request, body: IO[bytes]) -> IO[bytes]:
    request.max_content_length = IMPORT_BODY_MAX
    shutil.copyfileobj(request.stream, body)
    size = body.tell()
    if request.content_length not in (None, size):  # the end came early, which nobody tells us
        raise ClientDisconnected
    check_end(request, size)
    body.seek(0)
    return body


def _decode(body: IO[bytes], decoded: IO[bytes]) -> IO[bytes]:
    rest = b""
    try:
        for _ in range(MEMBERS_MAX):
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            while not member.eof:
                chunk = rest or body.read(CHUNK)
                text = member.decompress(chunk, CHUNK)
                if not chunk and not text:
                    raise BadRequest("The body is cut off: its gzip has no end.")
                rest = member.unconsumed_tail or member.unused_data
                decoded.write(text)
                if decoded.tell() > IMPORT_BODY_MAX:
                    raise RequestEntityTooLarge
            rest = rest or body.read(CHUNK)
            if not rest:
                decoded.seek(0)
                return decoded
    except zlib.error:
        raise BadRequest("The body is not gzip.") from None
    raise BadRequest(f"The gzip body has more than {MEMBERS_MAX:,} members.")


def _read_form(
    body: IO[bytes], request: Request, new_file: Callable[..., IO[bytes]]
) -> tuple[IO[bytes], str]:
    parser = MultiPartParser(new_file, max_form_memory_size=IN_MEMORY, max_form_parts=10)
    boundary = request.mimetype_params.get("boundary", "").encode("latin-1", "replace")
    try:
        fields, files = parser.parse(body, boundary, request.content_length)
    except ValueError:
        raise BadRequest("The body is not a form, or it is cut off.") from None
    parts = [part for _, part in files.items(multi=True)]
    if fields or len(parts) != 1:
        raise BadRequest("The form must have one file and no fields: options go into the query.")
    return parts[0].stream, parts[0].mimetype
