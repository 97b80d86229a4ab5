"""Create books"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

FIRST_DAY = (
    "make_date(left(published_date, 4)::integer,"
    " coalesce(nullif(substr(published_date, 6, 2), ''), '1')::integer,"
    " coalesce(nullif(substr(published_date, 9, 2), ''), '1')::integer)"
)


def upgrade() -> None:
    now = sa.func.now()
    op.create_table(
        "books",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("author", sa.String(1000), nullable=False),
        sa.Column("publisher", sa.String(500)),
        sa.Column("published_date", sa.String(10)),
        sa.Column("published_on", sa.Date(), sa.Computed(FIRST_DAY, persisted=True)),
        sa.Column("page_count", sa.Integer()),
        sa.Column("language", sa.String(35)),
        sa.Column("isbn", sa.String(13)),
        sa.Column("user_uid", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("page_count BETWEEN 1 AND 100000", name=op.f("ck_books_page_count")),
        sa.CheckConstraint("isbn ~ '^97[89][0-9]{10}$'", name=op.f("ck_books_isbn")),
        sa.ForeignKeyConstraint(
            ["user_uid"], ["users.id"], name=op.f("fk_books_user_uid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_books")),
    )
    op.create_index("ix_books_newest", "books", ["created_at", "id"])
    op.create_index("ix_books_newest_of_user", "books", ["user_uid", "created_at", "id"])


def downgrade() -> None:
    op.drop_table("books")
