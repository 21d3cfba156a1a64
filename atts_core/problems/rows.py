"""Rows of a data set from a file or folder, with every defect said by its place.

JSON lines, JSON (a list of objects, or an object from id to object), CSV and TSV are read here; Parquet and
folders that the `datasets` library saved need the extra `hub`.
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from atts_core.errors import SettingsError

Row = dict[str, Any]

MOST_ROWS = 100_000
"""Problems of one set: far beyond any evaluation."""
MOST_BYTES = 1 << 30
ID = "id"
_HUB_EXTRA = "needs the extra hub: pip install 'atts[hub]'"


def read_rows(path: Path, *, config: str | None = None, split: str = "") -> list[tuple[str, Row]]:
    """Every row with its place in words, such as `problems.jsonl line 7`.

    Of a folder: the files of this configuration and split where it has several.

    Raises:
        SettingsError: it cannot be read, holds no rows or too many, or a row is broken; says where.
    """
    if path.is_dir():
        rows = _folder(path, config, split)
    elif path.is_file():
        rows = _file(path)
    else:
        raise SettingsError(f"There is no file or folder {path}.")
    if not rows:
        raise SettingsError(f"{path} holds no problems.")
    return rows


def _folder(path: Path, config: str | None, split: str) -> list[tuple[str, Row]]:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved(path, split)
    files = sorted(each for each in path.rglob("*") if each.suffix in _READERS and each.is_file())
    files = [each for each in files if not each.name.startswith(("dataset_info", "README"))]
    for wanted in (config, split):
        matching = [each for each in files if wanted and _named(each.relative_to(path), wanted)]
        files = matching or files
    if not files:
        kinds = ", ".join(sorted(_READERS))
        raise SettingsError(f"The folder {path} holds no data set: no file of {kinds}, and none saved there.")
    shards = {each.name.split("-0")[0] for each in files}
    if len(shards) > 1:
        names = ", ".join(str(each.relative_to(path)) for each in files[:6])
        raise SettingsError(f"The folder {path} holds several files ({names}); name the one that is meant.")
    return [row for each in files for row in _file(each)]


def _named(file: Path, wanted: str) -> bool:
    return any(part.lower().startswith(wanted.lower()) for part in file.parts)


def _file(path: Path) -> list[tuple[str, Row]]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        kinds = ", ".join(sorted(_READERS))
        raise SettingsError(f"{path} is of no kind that is read here ({kinds}).")
    rows: list[tuple[str, Row]] = []
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise SettingsError(
                f"{path} has {size / 1e9:.1f} GB; at most {MOST_BYTES / 1e9:.1f} GB are read."
            )
        for row in reader(path):
            rows.append(row)
            if len(rows) > MOST_ROWS:
                raise SettingsError(f"{path} has more than {MOST_ROWS:,} problems; give a part of it.")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not text in UTF-8 (byte {error.start:,}).") from None
    return rows


def _json_lines(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if text.strip():
                place = f"{path} line {number}"
                yield place, _object(_decoded(text.strip(), place), place)


def _json(path: Path) -> Iterator[tuple[str, Row]]:
    found = _decoded(path.read_text(encoding="utf-8-sig"), str(path))
    if isinstance(found, list):
        for number, row in enumerate(found, start=1):
            yield f"{path} entry {number}", _object(row, f"{path} entry {number}")
    elif isinstance(found, dict) and found and all(isinstance(row, dict) for row in found.values()):
        for key, row in found.items():
            yield f"{path} entry {key!r}", {ID: key, **row}
    else:
        raise SettingsError(f"{path} is neither a list of problems nor an object from id to problem.")


def _table(delimiter: str) -> Callable[[Path], Iterator[tuple[str, Row]]]:
    def read(path: Path) -> Iterator[tuple[str, Row]]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            try:
                header = next(reader, [])
                if len(set(header)) < len(header):
                    raise SettingsError(f"{path} has two columns of one name: {', '.join(header)}.")
                for cells in reader:
                    if not cells:
                        continue
                    place = f"{path} line {reader.line_num}"
                    if len(cells) != len(header):
                        raise SettingsError(
                            f"{place} has {len(cells)} cells, and the first line names {len(header)} columns."
                        )
                    yield place, dict(zip(header, cells, strict=True))
            except csv.Error as error:
                raise SettingsError(f"{path} line {reader.line_num} is no CSV: {error}.") from None

    return read


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        from pyarrow import parquet  # noqa: PLC0415  # 0.2 s, an extra
    except ImportError:
        raise SettingsError(f"{path}: reading Parquet {_HUB_EXTRA}.") from None
    try:
        file = parquet.ParquetFile(path)
        if file.metadata.num_rows > MOST_ROWS:
            raise SettingsError(f"{path} has {file.metadata.num_rows:,} problems; at most {MOST_ROWS:,}.")
        for number, row in enumerate(file.read().to_pylist(), start=1):
            yield f"{path} row {number}", row
    except (ValueError, OSError) as error:
        raise SettingsError(f"{path} is no Parquet file: {_first_line(error)}.") from None


def _saved(path: Path, split: str) -> list[tuple[str, Row]]:
    """A folder that `datasets.save_to_disk` wrote."""
    datasets = _library(f"reading the saved data set {path}")
    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # the library raises many kinds
        raise SettingsError(f"{path} is no data set that can be read: {_first_line(error)}.") from None
    if isinstance(found, datasets.DatasetDict):
        names = list(found)
        if split not in found and len(names) > 1:
            raise SettingsError(f"{path} has no split {split!r}; it has {', '.join(names)}.")
        found = found[split if split in found else names[0]]
    return _listed(found, str(path))


def from_hub(hub: str, config: str | None, split: str) -> list[tuple[str, Row]]:
    """Rows of a data set of the Hugging Face hub, or of its local cache where the hub cannot be reached.

    Raises:
        SettingsError: it is neither reachable nor cached, asks for a log-in, or has no such split.
    """
    datasets = _library(f"{hub} is a data set of the Hugging Face hub, which")
    try:
        found = datasets.load_dataset(hub, config, split=split)
    except Exception as error:  # the library raises many kinds
        _refuse(hub, error)
    return _listed(found, hub)


def _refuse(hub: str, error: Exception) -> NoReturn:
    words = _first_line(error)
    if "gated" in str(error).lower():
        raise SettingsError(
            f"{hub} is given only to those who accepted its terms: do so on huggingface.co/datasets/{hub},"
            " then log in here with `hf auth login` (or set HF_TOKEN)."
        ) from None
    if isinstance(error, OSError) or "offline" in words.lower():
        raise SettingsError(
            f"{hub} cannot be reached on the Hugging Face hub, and is not in the cache of this machine; give"
            " a copy of it with --from FILE or FOLDER."
        ) from None
    raise SettingsError(f"{hub} cannot be loaded from the Hugging Face hub: {words}.") from None


def _listed(found: Any, name: str) -> list[tuple[str, Row]]:
    if len(found) > MOST_ROWS:
        raise SettingsError(f"{name} has {len(found):,} problems; at most {MOST_ROWS:,} are taken.")
    return [(f"{name} row {number}", dict(row)) for number, row in enumerate(found, start=1)]


def _library(what: str) -> Any:
    """The `datasets` library, quiet."""
    try:
        import datasets  # noqa: PLC0415  # a second, an extra
        import huggingface_hub.utils.logging as hub_logging  # noqa: PLC0415
    except ImportError:
        raise SettingsError(f"{what} {_HUB_EXTRA}.") from None
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    hub_logging.set_verbosity(50)
    return datasets


def _decoded(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if error.lineno > 1 and " line " not in place else ""
        raise SettingsError(f"{place} is no JSON: {error.msg} at {line}column {error.colno}.") from None
    except ValueError as error:  # such as a number of thousands of digits
        raise SettingsError(f"{place} is no JSON that can be read: {error}.") from None
    except RecursionError:
        raise SettingsError(f"{place} is no JSON that can be read: it is nested too deeply.") from None


def _object(found: Any, place: str) -> Row:
    if not isinstance(found, dict):
        raise SettingsError(f"{place} is no JSON object.")
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, Row]]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".parquet": _parquet,
}
