"""MLflow's own tables, the columns that are read or written here without MLflow, and the statements that do.

Written down from MLflow 3.17 (mlflow/store/model_registry/dbmodels/models.py); the stores' tests compare what comes out
with MLflow's own answers. Statements are built once: that takes SQLAlchemy longer than SQLite takes to run them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MODELS = sa.table("registered_models", sa.column("workspace"), sa.column("name"), sa.column("last_updated_time"))
ALIASES = sa.table(
    "registered_model_aliases", sa.column("workspace"), sa.column("name"), sa.column("alias"), sa.column("version")
)
VERSIONS = sa.table(
    "model_versions", sa.column("workspace"), sa.column("name"), sa.column("version"), sa.column("run_id"),
    sa.column("source"), sa.column("current_stage"),
)  # fmt: skip


def of_model(table: sa.TableClause) -> tuple[sa.ColumnElement[bool], ...]:
    """One model's rows, its workspace and name left as parameters."""
    return table.c.workspace == sa.bindparam("of_workspace"), table.c.name == sa.bindparam("of_name")


_ALIASES = sa.select(ALIASES.c.alias, ALIASES.c.version).where(*of_model(ALIASES))
_TOUCH = sa.update(MODELS).where(*of_model(MODELS)).values(last_updated_time=sa.bindparam("now"))
_UNALIAS = sa.delete(ALIASES).where(*of_model(ALIASES), ALIASES.c.alias.in_(sa.bindparam("stale", expanding=True)))
_ALIAS = sa.insert(ALIASES).values(
    workspace=sa.bindparam("of_workspace"), name=sa.bindparam("of_name"), alias=sa.bindparam("new_alias"),
    version=sa.bindparam("new_version"),
)  # fmt: skip


def asked(workspace: str, name: str) -> dict[str, Any]:
    """The parameters that say which model is meant."""
    return {"of_workspace": workspace, "of_name": name}


def aliases(session: Session | sa.Connection, workspace: str, name: str) -> dict[str, int]:
    """All aliases of a model, and the versions that they point at."""
    return {str(row.alias): int(row.version) for row in session.execute(_ALIASES, asked(workspace, name))}


def names(session: Session, workspace: str) -> list[str]:
    """The names of all registered models."""
    return [str(name) for name in session.scalars(sa.select(MODELS.c.name).where(MODELS.c.workspace == workspace))]


def touch(session: Session, workspace: str, name: str, now: int) -> None:
    """A model was changed at this time (ms)."""
    session.execute(_TOUCH, {**asked(workspace, name), "now": now})


def drop_aliases(session: Session, workspace: str, name: str, stale: Iterable[str]) -> None:
    """Take these aliases away."""
    session.execute(_UNALIAS, {**asked(workspace, name), "stale": sorted(stale)})


def add_alias(session: Session, workspace: str, name: str, alias: str, version: int) -> None:
    """Add an alias that is not there."""
    session.execute(_ALIAS, {**asked(workspace, name), "new_alias": alias, "new_version": version})
