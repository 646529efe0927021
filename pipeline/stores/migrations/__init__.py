"""Alembic migrations of the definitions database."""
