"""Learn the words of each owner

What a typo may mean in the books of one owner is looked up among the owner's words only, however
many near ones others have.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    op.create_table(
        "owner_words",
        sa.Column("user_uid", sa.Uuid(), nullable=False),
        sa.Column("word", sa.Text(collation="C"), nullable=False),
    )
    op.create_index("ix_owner_words_word", "owner_words", ["user_uid", "word"])
    replace_functions("books_deletions_2", "books_learn_words_2")


def downgrade() -> None:
    replace_functions("books_deletions_1", "books_learn_words_1")
    op.drop_table("owner_words")


def replace_functions(*names: str) -> None:
    for name in names:
        op.execute((SQL / f"{name}.sql").read_text("utf-8"))
