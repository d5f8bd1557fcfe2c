"""Alembic's entry: run the migrations in the transaction that `database.migrate` has begun."""

from alembic import context
from insta_depth_gateway.accounts.schema import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
