"""The emulator's data: sample tables, and the catalogue (information_schema) that describes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fluxport_emulator.types import NO_DEFAULT, NOT_NULL, PRIMARY_KEY, ColumnType, column_type

COLLATION = "utf8mb4_bin"  # text compares byte by byte
# Above this many rows the users are computed while being read: memory does not grow with their number.
STORED_ROWS_MAX = 5_000_000


@dataclass(frozen=True)
class SampleColumn:
    """``declared`` is the MySQL type: "varchar(255)", "bigint unsigned", "datetime(3)"."""

    name: str
    declared: str
    nullable: bool = True
    key: bool = False

    @property
    def type(self) -> ColumnType:
        return column_type(self.declared)

    @property
    def flags(self) -> int:
        key = PRIMARY_KEY | NO_DEFAULT if self.key else 0
        return self.type.flags | (0 if self.nullable else NOT_NULL) | key


@dataclass(frozen=True)
class SampleTable:
    """A table and the DuckDB SELECT of its rows, columns in the same order; ``rows`` is reported as an estimate."""

    name: str
    columns: tuple[SampleColumn, ...]
    select: str
    rows: int = 0
    stored: bool = True

    def column(self, name: str) -> SampleColumn | None:
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)

    def create_sql(self, database: str) -> str:
        kind = "TABLE" if self.stored else "VIEW"
        return f"CREATE {kind} {identifier(database)}.{identifier(self.name)} AS {self.select}"

    def mysql_ddl(self) -> str:
        """The CREATE TABLE statement for SHOW CREATE TABLE."""
        lines = [
            f"  `{column.name}` {column.declared}" + ("" if column.nullable else " NOT NULL") for column in self.columns
        ]
        if keys := [f"`{column.name}`" for column in self.columns if column.key]:
            lines.append(f"  PRIMARY KEY ({','.join(keys)})")
        body = ",\n".join(lines)
        return f"CREATE TABLE `{self.name}` (\n{body}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={COLLATION}"


def users_table(rows: int) -> SampleTable:
    """``rows`` users: User<i>, user<i>@example.com, a whole second every 61 s from 2020 on, and a score of i * 0.1."""
    select = f"""
        SELECT CAST(i AS BIGINT) AS id,
               'User' || i AS name,
               'user' || i || '@example.com' AS email,
               CAST(TIMESTAMP '2020-01-01 00:00:00' + to_seconds(i * 61) AS TIMESTAMP_S) AS created_at,
               CAST(i AS DOUBLE) * CAST(0.1 AS DOUBLE) AS score
        FROM range(1, {int(rows) + 1}) AS numbers(i)"""
    columns = (
        SampleColumn("id", "bigint", nullable=False, key=True),
        SampleColumn("name", "varchar(255)", nullable=False),
        SampleColumn("email", "varchar(255)", nullable=False),
        SampleColumn("created_at", "datetime", nullable=False),
        SampleColumn("score", "double", nullable=False),
    )
    return SampleTable("users", columns, select, rows, stored=rows <= STORED_ROWS_MAX)


def identifier(name: str) -> str:
    """A name quoted for DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | int | float | None) -> str:
    """A value as a DuckDB literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    return "'" + value.replace("'", "''") + "'"


# DuckDB's own information_schema cannot be replaced, so MySQL's is stored in another schema.
INFORMATION_SCHEMA = "information_schema"
INFORMATION_SCHEMA_STORE = "mysql_information_schema"

_SHAPES = {
    "SCHEMATA": "CATALOG_NAME SCHEMA_NAME DEFAULT_CHARACTER_SET_NAME DEFAULT_COLLATION_NAME SQL_PATH",
    "TABLES": "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME TABLE_TYPE ENGINE VERSION:int ROW_FORMAT TABLE_ROWS:int "
    "AVG_ROW_LENGTH:int DATA_LENGTH:int MAX_DATA_LENGTH:int INDEX_LENGTH:int DATA_FREE:int AUTO_INCREMENT:int "
    "CREATE_TIME:datetime UPDATE_TIME:datetime CHECK_TIME:datetime TABLE_COLLATION CHECKSUM:int CREATE_OPTIONS "
    "TABLE_COMMENT",
    "COLUMNS": "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME COLUMN_NAME ORDINAL_POSITION:int COLUMN_DEFAULT IS_NULLABLE "
    "DATA_TYPE CHARACTER_MAXIMUM_LENGTH:int CHARACTER_OCTET_LENGTH:int NUMERIC_PRECISION:int NUMERIC_SCALE:int "
    "DATETIME_PRECISION:int CHARACTER_SET_NAME COLLATION_NAME COLUMN_TYPE COLUMN_KEY EXTRA PRIVILEGES COLUMN_COMMENT "
    "GENERATION_EXPRESSION",
    "STATISTICS": "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME NON_UNIQUE:int INDEX_SCHEMA INDEX_NAME SEQ_IN_INDEX:int "
    "COLUMN_NAME COLLATION CARDINALITY:int SUB_PART:int PACKED NULLABLE INDEX_TYPE COMMENT INDEX_COMMENT IS_VISIBLE "
    "EXPRESSION",
    "TABLE_CONSTRAINTS": "CONSTRAINT_CATALOG CONSTRAINT_SCHEMA CONSTRAINT_NAME TABLE_SCHEMA TABLE_NAME "
    "CONSTRAINT_TYPE ENFORCED",
    "KEY_COLUMN_USAGE": "CONSTRAINT_CATALOG CONSTRAINT_SCHEMA CONSTRAINT_NAME TABLE_CATALOG TABLE_SCHEMA TABLE_NAME "
    "COLUMN_NAME ORDINAL_POSITION:int POSITION_IN_UNIQUE_CONSTRAINT:int REFERENCED_TABLE_SCHEMA "
    "REFERENCED_TABLE_NAME REFERENCED_COLUMN_NAME",
    "REFERENTIAL_CONSTRAINTS": "CONSTRAINT_CATALOG CONSTRAINT_SCHEMA CONSTRAINT_NAME UNIQUE_CONSTRAINT_SCHEMA "
    "UNIQUE_CONSTRAINT_NAME MATCH_OPTION UPDATE_RULE DELETE_RULE TABLE_NAME REFERENCED_TABLE_NAME",
    "CHECK_CONSTRAINTS": "CONSTRAINT_CATALOG CONSTRAINT_SCHEMA CONSTRAINT_NAME CHECK_CLAUSE",
    "VIEWS": "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME VIEW_DEFINITION CHECK_OPTION IS_UPDATABLE DEFINER SECURITY_TYPE",
    "ROUTINES": "SPECIFIC_NAME ROUTINE_CATALOG ROUTINE_SCHEMA ROUTINE_NAME ROUTINE_TYPE DATA_TYPE "
    "ROUTINE_DEFINITION SECURITY_TYPE DEFINER SQL_DATA_ACCESS CREATED:datetime LAST_ALTERED:datetime ROUTINE_COMMENT",
    "PARAMETERS": "SPECIFIC_CATALOG SPECIFIC_SCHEMA SPECIFIC_NAME ORDINAL_POSITION:int PARAMETER_MODE PARAMETER_NAME "
    "DATA_TYPE ROUTINE_TYPE",
    "TRIGGERS": "TRIGGER_SCHEMA TRIGGER_NAME EVENT_MANIPULATION EVENT_OBJECT_SCHEMA EVENT_OBJECT_TABLE "
    "ACTION_STATEMENT ACTION_TIMING CREATED:datetime DEFINER",
    "EVENTS": "EVENT_SCHEMA EVENT_NAME DEFINER EVENT_DEFINITION STATUS",
    "PARTITIONS": "TABLE_SCHEMA TABLE_NAME PARTITION_NAME PARTITION_ORDINAL_POSITION:int PARTITION_METHOD "
    "PARTITION_EXPRESSION PARTITION_DESCRIPTION TABLE_ROWS:int",
    "FILES": "FILE_ID:int FILE_NAME FILE_TYPE TABLESPACE_NAME",
    "ENGINES": "ENGINE SUPPORT COMMENT TRANSACTIONS XA SAVEPOINTS",
    "PLUGINS": "PLUGIN_NAME PLUGIN_VERSION PLUGIN_STATUS PLUGIN_TYPE PLUGIN_LICENSE",
    "CHARACTER_SETS": "CHARACTER_SET_NAME DEFAULT_COLLATE_NAME DESCRIPTION MAXLEN:int",
    "COLLATIONS": "COLLATION_NAME CHARACTER_SET_NAME ID:int IS_DEFAULT IS_COMPILED SORTLEN:int",
    "USER_PRIVILEGES": "GRANTEE TABLE_CATALOG PRIVILEGE_TYPE IS_GRANTABLE",
    "SCHEMA_PRIVILEGES": "GRANTEE TABLE_CATALOG TABLE_SCHEMA PRIVILEGE_TYPE IS_GRANTABLE",
    "TABLE_PRIVILEGES": "GRANTEE TABLE_CATALOG TABLE_SCHEMA TABLE_NAME PRIVILEGE_TYPE IS_GRANTABLE",
    "COLUMN_PRIVILEGES": "GRANTEE TABLE_CATALOG TABLE_SCHEMA TABLE_NAME COLUMN_NAME PRIVILEGE_TYPE IS_GRANTABLE",
    "PROCESSLIST": "ID:int USER HOST DB COMMAND TIME:int STATE INFO",
}
_STORAGE = {"int": "BIGINT", "datetime": "TIMESTAMP_S", "": "VARCHAR"}
_DECLARED = {"int": "bigint", "datetime": "datetime", "": "varchar(512)"}
Row = Mapping[str, "str | int | None"]


@dataclass(frozen=True)
class Catalog:
    """Databases, their tables, and the user who may read them."""

    databases: Mapping[str, Mapping[str, SampleTable]]
    user: str

    @classmethod
    def of(cls, database: str, tables: tuple[SampleTable, ...], user: str) -> Catalog:
        described = {name: _information_table(name) for name in _SHAPES}
        return cls({database: {table.name: table for table in tables}, INFORMATION_SCHEMA: described}, user)

    def database(self, name: str) -> str | None:
        """The database's own spelling of its name."""
        return next((known for known in self.databases if known.lower() == name.lower()), None)

    def table(self, database: str, name: str) -> SampleTable | None:
        tables = self.databases.get(database, {})
        return tables.get(name) or next((t for t in tables.values() if t.name.lower() == name.lower()), None)

    @property
    def grantee(self) -> str:
        return f"'{self.user}'@'%'"

    def statements(self) -> Iterator[str]:
        """The DuckDB statements that create everything in the catalogue."""
        for database, tables in self.databases.items():
            store = INFORMATION_SCHEMA_STORE if database == INFORMATION_SCHEMA else database
            yield f"CREATE SCHEMA IF NOT EXISTS {identifier(store)}"
            for table in tables.values():
                yield table.create_sql(store)
        for name, rows in self._described().items():
            if rows:
                names = ", ".join(map(identifier, rows[0]))
                lines = ", ".join(f"({', '.join(map(literal, row.values()))})" for row in rows)
                yield f"INSERT INTO {INFORMATION_SCHEMA_STORE}.{name} ({names}) VALUES {lines}"

    def _described(self) -> dict[str, list[Row]]:
        owned = [(name, t) for name, tables in self.databases.items() for t in tables.values()]
        keyed = [(d, t, c, n) for d, t in owned for n, c in enumerate((c for c in t.columns if c.key), 1)]
        return {
            "SCHEMATA": [_schema_row(name) for name in self.databases],
            "TABLES": [_table_row(database, table) for database, table in owned],
            "COLUMNS": [_column_row(d, t, c, n) for d, t in owned for n, c in enumerate(t.columns, 1)],
            "STATISTICS": [_index_row(*key) for key in keyed],
            "TABLE_CONSTRAINTS": [_constraint_row(d, t) for d, t, _, n in keyed if n == 1],
            "KEY_COLUMN_USAGE": [_key_row(*key) for key in keyed],
            "ENGINES": [_ENGINE],
            "CHARACTER_SETS": _CHARACTER_SETS,
            "COLLATIONS": _COLLATIONS,
            "USER_PRIVILEGES": [self._privilege("USAGE")],
            "SCHEMA_PRIVILEGES": [
                self._privilege("SELECT") | {"TABLE_SCHEMA": name}
                for name in self.databases
                if name != INFORMATION_SCHEMA
            ],
        }

    def _privilege(self, kind: str) -> dict[str, str | int | None]:
        return {"GRANTEE": self.grantee, "TABLE_CATALOG": "def", "PRIVILEGE_TYPE": kind, "IS_GRANTABLE": "NO"}


def _information_table(name: str) -> SampleTable:
    shape = [column.partition(":") for column in _SHAPES[name].split()]
    columns = tuple(SampleColumn(column, _DECLARED[kind]) for column, _, kind in shape)
    nulls = ", ".join(f"CAST(NULL AS {_STORAGE[kind]}) AS {identifier(column)}" for column, _, kind in shape)
    return SampleTable(name, columns, f"SELECT {nulls} WHERE false")


def _schema_row(name: str) -> Row:
    return {
        "CATALOG_NAME": "def",
        "SCHEMA_NAME": name,
        "DEFAULT_CHARACTER_SET_NAME": "utf8mb4",
        "DEFAULT_COLLATION_NAME": COLLATION,
    }


def _table_row(database: str, table: SampleTable) -> Row:
    described = database == INFORMATION_SCHEMA
    return {
        "TABLE_CATALOG": "def",
        "TABLE_SCHEMA": database,
        "TABLE_NAME": table.name,
        "TABLE_TYPE": "SYSTEM VIEW" if described else "BASE TABLE",
        "ENGINE": None if described else "InnoDB",
        "VERSION": 10,
        "ROW_FORMAT": None if described else "Dynamic",
        "TABLE_ROWS": 0 if described else table.rows,
        "AVG_ROW_LENGTH": 0 if described else 64,
        "DATA_LENGTH": 0 if described else 64 * table.rows,
        "MAX_DATA_LENGTH": 0,
        "INDEX_LENGTH": 0,
        "DATA_FREE": 0,
        "TABLE_COLLATION": COLLATION,
        "CREATE_OPTIONS": "",
        "TABLE_COMMENT": "",
    }


_NUMERIC_PRECISION = {"tinyint": 3, "smallint": 5, "mediumint": 7, "int": 10, "bigint": 19, "float": 12, "double": 22}


def _column_row(database: str, table: SampleTable, column: SampleColumn, position: int) -> Row:
    kind = column.type
    characters = kind.length // 4 if kind.is_text else kind.length
    sized = kind.code in (252, 253, 254)
    precision = _NUMERIC_PRECISION.get(kind.data_type)
    if kind.code == 246:
        precision = kind.length - (1 if kind.decimals else 0) - (0 if kind.declared.endswith("unsigned") else 1)
    scale = kind.decimals if kind.code == 246 else 0 if kind.layout.name == "FIXED" and kind.decimals == 0 else None
    return {
        "TABLE_CATALOG": "def",
        "TABLE_SCHEMA": database,
        "TABLE_NAME": table.name,
        "COLUMN_NAME": column.name,
        "ORDINAL_POSITION": position,
        "IS_NULLABLE": "YES" if column.nullable else "NO",
        "DATA_TYPE": kind.data_type,
        "CHARACTER_MAXIMUM_LENGTH": characters if sized else None,
        "CHARACTER_OCTET_LENGTH": kind.length if sized else None,
        "NUMERIC_PRECISION": precision,
        "NUMERIC_SCALE": scale,
        "DATETIME_PRECISION": kind.decimals if kind.code in (7, 11, 12) else None,
        "CHARACTER_SET_NAME": "utf8mb4" if kind.is_text else None,
        "COLLATION_NAME": COLLATION if kind.is_text else None,
        "COLUMN_TYPE": column.declared,
        "COLUMN_KEY": "PRI" if column.key else "",
        "EXTRA": "",
        "PRIVILEGES": "select",
        "COLUMN_COMMENT": "",
        "GENERATION_EXPRESSION": "",
    }


def _index_row(database: str, table: SampleTable, column: SampleColumn, position: int) -> Row:
    return {
        "TABLE_CATALOG": "def",
        "TABLE_SCHEMA": database,
        "TABLE_NAME": table.name,
        "NON_UNIQUE": 0,
        "INDEX_SCHEMA": database,
        "INDEX_NAME": "PRIMARY",
        "SEQ_IN_INDEX": position,
        "COLUMN_NAME": column.name,
        "COLLATION": "A",
        "CARDINALITY": table.rows,
        "NULLABLE": "",
        "INDEX_TYPE": "BTREE",
        "COMMENT": "",
        "INDEX_COMMENT": "",
        "IS_VISIBLE": "YES",
    }


def _constraint_row(database: str, table: SampleTable) -> Row:
    return {
        "CONSTRAINT_CATALOG": "def",
        "CONSTRAINT_SCHEMA": database,
        "CONSTRAINT_NAME": "PRIMARY",
        "TABLE_SCHEMA": database,
        "TABLE_NAME": table.name,
        "CONSTRAINT_TYPE": "PRIMARY KEY",
        "ENFORCED": "YES",
    }


def _key_row(database: str, table: SampleTable, column: SampleColumn, position: int) -> Row:
    return {
        "CONSTRAINT_CATALOG": "def",
        "CONSTRAINT_SCHEMA": database,
        "CONSTRAINT_NAME": "PRIMARY",
        "TABLE_CATALOG": "def",
        "TABLE_SCHEMA": database,
        "TABLE_NAME": table.name,
        "COLUMN_NAME": column.name,
        "ORDINAL_POSITION": position,
    }


_ENGINE: Row = {
    "ENGINE": "InnoDB",
    "SUPPORT": "DEFAULT",
    "COMMENT": "Emulated by an embedded DuckDB",
    "TRANSACTIONS": "YES",
    "XA": "NO",
    "SAVEPOINTS": "YES",
}
_CHARACTER_SETS: list[Row] = [
    {
        "CHARACTER_SET_NAME": "utf8mb4",
        "DEFAULT_COLLATE_NAME": COLLATION,
        "DESCRIPTION": "UTF-8 Unicode",
        "MAXLEN": 4,
    },
    {
        "CHARACTER_SET_NAME": "binary",
        "DEFAULT_COLLATE_NAME": "binary",
        "DESCRIPTION": "Binary pseudo charset",
        "MAXLEN": 1,
    },
]
_COLLATIONS: list[Row] = [
    {
        "COLLATION_NAME": name,
        "CHARACTER_SET_NAME": charset,
        "ID": number,
        "IS_DEFAULT": "Yes" if default else "",
        "IS_COMPILED": "Yes",
        "SORTLEN": 1,
    }
    for name, charset, number, default in (
        (COLLATION, "utf8mb4", 46, True),
        ("binary", "binary", 63, True),
    )
]
