"""Define the identity of a book"""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    op.execute((SQL / "books_identity_1.sql").read_text("utf-8"))


def downgrade() -> None:
    op.execute("DROP FUNCTION books_identity")
