"""Rewrite the golden file of the contract: `make openapi`."""

from pathlib import Path

from books_api import create_app
from books_api.config import Settings

GOLDEN = Path(__file__).parent / "data" / "openapi.json"


def document() -> bytes:
    """Return the OpenAPI document; neither Postgres nor Redis is asked for it."""
    settings = Settings(
        database_url="postgresql+psycopg2:///books",
        redis_url="redis://localhost",
        jwt_secret_key="0123456789abcdef0123456789abcdef",
    )
    document: bytes = create_app(settings).extensions["openapi"]
    return document + b"\n"


if __name__ == "__main__":
    GOLDEN.write_bytes(document())
