"""The tables of a run file, the steps from one version to the next, and connections that trust nothing.

A run file is an SQLite database in WAL mode: `meta` (key, JSON), append-only `events`, `commands` (viewers'
wishes), `kept` (files that belong to the run, such as its calibration), and `keyframes` with their `pieces`:
the folded state at some event, in parts, so that a part that did not change is stored once. Keyframes are
derived; everything else is the run.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

from atts_core.errors import SettingsError

APPLICATION_ID = 0x41545453
"""`ATTS`: what `file` and SQLite know our files by."""
PAGE_BYTES = 8192
"""A step's event with its token ids mostly fits into one page."""
SYNCHRONOUS = "FULL"
"""A commit is on the disk: what a run was told is written survives a power cut."""
LOCK_SECONDS = 2.0
"""How long a write waits for another program that holds the file before it is reported."""
MOST_BYTES = 256_000_000
"""Of one value: far above any state's keyframe, far below what would hurt."""
_TABLES = frozenset({"meta", "events", "commands", "kept", "keyframes", "pieces"})


def _first_version(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    # Ordinals count events without gaps, which sequence numbers do not, so that a hole cannot pass unseen.
    connection.execute(
        "CREATE TABLE events (ordinal INTEGER PRIMARY KEY, seq INTEGER NOT NULL, at REAL NOT NULL,"
        " type TEXT NOT NULL, problem INTEGER, sample INTEGER, body TEXT NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE commands (id INTEGER PRIMARY KEY AUTOINCREMENT, asked REAL NOT NULL,"
        " body TEXT NOT NULL, taken REAL)"
    )
    connection.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, body BLOB NOT NULL)")
    connection.execute(
        "CREATE TABLE keyframes (ordinal INTEGER PRIMARY KEY, seq INTEGER NOT NULL, at REAL NOT NULL,"
        " fold TEXT NOT NULL, body BLOB NOT NULL, pieces BLOB NOT NULL)"
    )
    connection.execute("CREATE TABLE pieces (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")


STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first_version,)
"""Step i makes a file of version i + 1 out of one of version i; version 0 is an empty file."""


def newest_version() -> int:
    """The schema version that this program writes."""
    return len(STEPS)


def create(path: Path, fill: Callable[[sqlite3.Connection], None] = lambda _: None) -> sqlite3.Connection:
    """A new run file, readable by its user only, open for writing; `fill` writes what it begins with.

    It takes its name once that is on the disk: a kill never leaves half of one.

    Raises:
        SettingsError: the file exists, or the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{token_hex(4)}.part")
    taken = SettingsError(f"{path} exists; a run never writes over another.")
    if path.exists():
        raise taken
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = _connect(f"{part.absolute().as_uri()}?mode=rw")
        try:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            _write_ahead(connection)
            _migrate(connection)
            connection.execute("BEGIN IMMEDIATE")
            fill(connection)
            connection.execute("COMMIT")
        finally:
            connection.close()
        _take_name(part, path)
        return open_for_writing(path)
    except FileExistsError:
        raise taken from None
    except OSError as error:
        raise SettingsError(
            f"No run file can be made in {path.parent} ({error.strerror}); name another folder"
            " with --runs-dir."
        ) from None
    except sqlite3.Error as error:
        raise SettingsError(f"The run file {path} cannot be made: {reason(error)}.") from None
    finally:
        for suffix in ("-wal", "-shm", ""):
            part.with_name(part.name + suffix).unlink(missing_ok=True)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """An existing run file, brought to the newest version.

    Raises:
        SettingsError: there is no such file, it is no run file, or it is of a newer version.
        sqlite3.Error: it cannot be written just now.
    """
    _look(path)
    connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
    try:
        check(connection, path)
        _write_ahead(connection)
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """An existing run file as the newest version; of an older one a migrated copy is read.

    A truncated or damaged file opens where its first page is whole; reading then ends at the damage, in
    sqlite3.DatabaseError.

    Raises:
        SettingsError: there is no such file, it cannot be read, it is no run file, or one of a newer version.
    """
    _look(path)
    connection = _open_read_only(path)
    try:
        if check(connection, path) < newest_version():
            connection = _migrated_copy(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of an open file, at least 1.

    Raises:
        SettingsError: it is no run file, or it is of a newer version than this program's.
    """
    foreign = SettingsError(f"{path} is no run file of atts.")
    try:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise foreign
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        made_by = ""
        if version > newest_version():
            row = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
            made_by = f", made by atts {row[0].strip(chr(34))}" if row else ""
        things = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        raise SettingsError(f"{path} cannot be read: {reason(error)}.") from None
    except (sqlite3.DatabaseError, AttributeError, TypeError):
        raise foreign from None
    if version > newest_version():
        raise SettingsError(
            f"{path} has run file version {version}{made_by}; this atts reads up to version"
            f" {newest_version()}: use that atts, or a newer one."
        )
    # A view or trigger in place of a table would run somebody else's program on every read.
    tables = {
        name for kind, name, sql in things if kind == "table" and not str(sql).startswith("CREATE VIRTUAL")
    }
    if version < 1 or not tables >= _TABLES or any(kind in ("view", "trigger") for kind, _, _ in things):
        raise foreign
    return version


def reason(error: sqlite3.Error | OSError) -> str:
    """Why a file could not be read or written, in words that a user can act on."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return {
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_READONLY: "it is read-only",
        sqlite3.SQLITE_PERM: "it may not be written",
        sqlite3.SQLITE_BUSY: "another program holds it locked",
        sqlite3.SQLITE_LOCKED: "another program holds it locked",
        sqlite3.SQLITE_IOERR: "the disk gives an error, or is full",
        sqlite3.SQLITE_CANTOPEN: "it cannot be opened; its folder may be read-only or gone",
        sqlite3.SQLITE_CORRUPT: "a page of it is not what it was",
        sqlite3.SQLITE_NOTADB: "its beginning is not what it was",
        sqlite3.SQLITE_TOOBIG: "a value in it is larger than any of ours",
    }.get(code, str(error))


def _look(path: Path) -> None:
    """Whether there is a file with something in it.

    Never opens it: closing a file drops every lock that this process holds on it (POSIX), SQLite's included,
    and this process may be the run's own engine. `check` finds out what is in it.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise SettingsError(f"There is no run file {path}.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    if not path.is_file():
        raise SettingsError(f"{path} cannot be read: it is no file.")
    if not size:
        raise SettingsError(f"{path} is empty: its run stopped before anything was written.")


def _take_name(part: Path, path: Path) -> None:
    try:
        path.hardlink_to(part)  # fails where the name was taken meanwhile, where a rename would replace it
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        part.rename(path)
    with contextlib.suppress(OSError):  # where a folder cannot be synced there is nothing to sync
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _open_read_only(path: Path) -> sqlite3.Connection:
    uri = path.absolute().as_uri()
    connection = _connect(f"{uri}?mode=ro")
    try:
        _probe(connection)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
        ):
            return connection  # `check` finds the words
        # A read-only folder has no place for the file that readers coordinate by; no writer, no need.
        connection.close()
        connection = _connect(f"{uri}?immutable=1")
    return connection


def _probe(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        # Shorter than its header says: this switch makes SQLite read what there is.
        connection.execute("PRAGMA writable_schema=ON")


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={SYNCHRONOUS}")


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version in range(connection.execute("PRAGMA user_version").fetchone()[0], newest_version()):
            STEPS[version](connection)
        connection.execute(f"PRAGMA user_version={newest_version()}")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _migrated_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The same file as the newest version, in a temporary place: reading changes no file."""
    copy = _connect("file:")
    connection.backup(copy)
    connection.close()
    _migrate(copy)
    return copy
