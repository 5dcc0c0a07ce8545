"""What exists in the account: databases, schemas, tables, stages and storage integrations.

A table object has an identity of its own and is only *bound* to a name: RENAME and SWAP WITH move names, and
everything that belongs to the object (rows, comment, load history, grants, policies, tags) travels with it, as
in Snowflake.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.access import SYSTEM_ROLES, Access, FutureGrant, Roles
from mz_orchestration.local.snowflake.lexer import Value
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.types import SfType

_ids = itertools.count(1)


@dataclass(frozen=True)
class Name:
    """A fully resolved name."""

    database: str
    schema: str
    object: str

    def __str__(self) -> str:
        return display(self.database, self.schema, self.object)


@dataclass(frozen=True)
class Column:
    """A column of a table; ``default`` is DuckDB's SQL, ``default_shown`` what the statement said."""

    name: str
    type: SfType
    nullable: bool = True
    default: str | None = None
    comment: str | None = None
    default_shown: str | None = None


@dataclass(frozen=True)
class Constraint:
    """PRIMARY KEY, UNIQUE or FOREIGN KEY: kept and shown, enforced by nobody."""

    kind: str
    columns: tuple[str, ...]
    name: str


@dataclass
class Governance:
    """Policies and tags set on a table: kept and shown; here they filter and mask nothing."""

    masking: dict[str, Name] = field(default_factory=dict)
    row_access: dict[Name, tuple[str, ...]] = field(default_factory=dict)
    tags: dict[Name, str] = field(default_factory=dict)
    column_tags: dict[str, dict[Name, str]] = field(default_factory=dict)

    def copy(self, *, policies: bool = True) -> Governance:
        """The same on another table, with the policies or without."""
        return Governance(
            dict(self.masking) if policies else {},
            dict(self.row_access) if policies else {},
            dict(self.tags),
            {column: dict(tags) for column, tags in self.column_tags.items()},
        )


@dataclass(frozen=True)
class LoadError:
    """The first error of a file, where it is known."""

    message: str
    line: int | None = None
    character: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class LoadedFile:
    """One entry of a table's load history: what COPY INTO did with one file."""

    url: str
    etag: str
    size: int
    modified: datetime
    stage_url: str
    status: str
    parsed: int
    loaded: int
    error_limit: int = 1
    errors: int = 0
    first_error: LoadError | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Version:
    """One state of a table's data: the DuckDB table that holds it and the files loaded into it."""

    physical: str
    history: dict[str, LoadedFile] = field(default_factory=dict)

    def with_files(self, files: dict[str, LoadedFile]) -> Version:
        """The same data's successor that has also seen these files."""
        return replace(self, history={**self.history, **files})


@dataclass(eq=False)
class Table:
    """A table object, or a view. ``version`` is its committed data; sessions hold uncommitted ones of their own.

    A view has a ``query`` (Snowflake's SQL, names in full) and no data. ``special`` is ICEBERG or HYBRID.
    """

    columns: list[Column]
    version: Version
    kind: str = "TABLE"
    comment: str | None = None
    access: Access = field(default_factory=Access)
    constraints: list[Constraint] = field(default_factory=list)
    cluster_by: str | None = None
    auto_clustering: bool = False
    governance: Governance = field(default_factory=Governance)
    query: str | None = None
    special: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    altered: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: int = field(default_factory=lambda: next(_ids))
    dropped: bool = False
    locked_by: int | None = None
    loads: list[LoadedFile] = field(default_factory=list)

    def __setattr__(self, attribute: str, value: object) -> None:
        # A version becomes the table's when it is committed. TRUNCATE may forget its load history at any time;
        # what has been loaded stays in the log that COPY_HISTORY shows.
        if attribute == "version" and isinstance(value, Version) and hasattr(self, "loads"):
            seen = {id(file) for file in self.version.history.values()}
            self.loads.extend(file for file in value.history.values() if id(file) not in seen)
        super().__setattr__(attribute, value)

    def column(self, name: str) -> Column | None:
        """The column of this exact name."""
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True)
class Integration:
    """A storage integration; ``provider`` is S3 or GCS, which has neither role nor external id."""

    name: str
    role_arn: str
    allowed: tuple[str, ...]
    blocked: tuple[str, ...]
    external_id: str
    enabled: bool = True
    comment: str | None = None
    provider: str = "S3"
    access: Access = field(default_factory=Access)


@dataclass(frozen=True)
class Stage:
    """An external stage: a location, read through an integration or with credentials of its own."""

    name: str
    url: str
    integration: str | None = None
    key_id: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    comment: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    endpoint: str | None = None
    file_format: dict[str, Value] = field(default_factory=dict)
    access: Access = field(default_factory=Access)


@dataclass(frozen=True)
class FileFormat:
    """A named file format: its type and the options given, TYPE left out."""

    name: str
    kind: str
    options: dict[str, Value]
    comment: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    access: Access = field(default_factory=Access)


@dataclass(frozen=True)
class Policy:
    """A masking or row access policy: its text, kept."""

    kind: str
    signature: str
    body: str
    comment: str | None = None


@dataclass(eq=False)
class Schema:
    """A schema of a database."""

    name: str
    tables: dict[str, Table] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)
    file_formats: dict[str, FileFormat] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    tags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    access: Access = field(default_factory=Access)
    future: list[FutureGrant] = field(default_factory=list)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    comment: str | None = None


@dataclass(eq=False)
class Database:
    """A database; a new one has the schema PUBLIC."""

    name: str
    schemas: dict[str, Schema] = field(default_factory=lambda: {"PUBLIC": Schema("PUBLIC")})
    access: Access = field(default_factory=Access)
    future: list[FutureGrant] = field(default_factory=list)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    comment: str | None = None


@dataclass
class Context:
    """The current database and schema of a session."""

    database: str | None = None
    schema: str | None = None


class Catalog:
    """All objects of the account. Callers hold ``lock`` while they read and change it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.released = threading.Condition(self.lock)
        self.databases: dict[str, Database] = {}
        self.integrations: dict[str, Integration] = {}
        self.warehouses: dict[str, str | None] = {"COMPUTE_WH": None}
        self.warehouse_access: dict[str, Access] = {}
        self.account_access = Access()
        self.roles: set[str] = set(SYSTEM_ROLES)
        self.hierarchy = Roles()

    def resolve(self, parts: list[str], context: Context, action: str = "SELECT") -> Name:
        """Complete a name of one to three parts from the session's context."""
        database = parts[-3] if len(parts) > 2 else context.database
        schema = parts[-2] if len(parts) > 1 else context.schema
        if database is None:
            raise errors.no_current("database", action)
        if schema is None:
            raise errors.no_current("schema", action)
        return Name(database, schema, parts[-1])

    def database(self, name: str) -> Database:
        """The database of this name."""
        if name not in self.databases:
            raise errors.does_not_exist("Database", display(name))
        return self.databases[name]

    def schema(self, database: str, name: str) -> Schema:
        """The schema of this name."""
        schemas = self.database(database).schemas
        if name not in schemas:
            raise errors.does_not_exist("Schema", display(database, name))
        return schemas[name]

    def schema_of(self, name: Name) -> Schema:
        """The schema a resolved name lies in."""
        return self.schema(name.database, name.schema)

    def table(self, name: Name, shown: str | None = None, kind: str = "Table") -> Table:
        """The table of this name; ``shown`` is how the statement spelled it."""
        database = self.databases.get(name.database)
        schema = database.schemas.get(name.schema) if database else None
        table = schema.tables.get(name.object) if schema else None
        if table is None:
            raise errors.does_not_exist(kind, shown or str(name))
        return table

    def stage(self, name: Name) -> Stage:
        """The stage of this name."""
        database = self.databases.get(name.database)
        schema = database.schemas.get(name.schema) if database else None
        stage = schema.stages.get(name.object) if schema else None
        if stage is None:
            raise errors.does_not_exist("Stage", str(name))
        return stage

    def file_format(self, name: Name) -> FileFormat:
        """The file format of this name."""
        database = self.databases.get(name.database)
        schema = database.schemas.get(name.schema) if database else None
        found = schema.file_formats.get(name.object) if schema else None
        if found is None:
            raise errors.does_not_exist("File format", str(name))
        return found

    def integration(self, name: str) -> Integration:
        """The storage integration of this name."""
        if name not in self.integrations:
            raise errors.does_not_exist("Integration", display(name))
        return self.integrations[name]

    def tables(self) -> Iterator[tuple[Name, Table]]:
        """Every table with its name, sorted."""
        for database in sorted(self.databases.values(), key=lambda d: d.name):
            for schema in sorted(database.schemas.values(), key=lambda s: s.name):
                for table_name in sorted(schema.tables):
                    yield Name(database.name, schema.name, table_name), schema.tables[table_name]
