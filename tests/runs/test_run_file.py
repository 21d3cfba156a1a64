"""Files that are cut off, damaged, foreign, hostile, old or newer, or where nothing can be written."""

import contextlib
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from atts_core import events as ev
from atts_core.errors import AttsError, RunError, SettingsError
from atts_core.runs import keyframes, schema
from atts_core.runs.file import About, RunFile
from atts_core.runs.player import Player
from atts_core.runs.presence import EngineMark, life, mark
from atts_core.runs.reader import RunReader
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

pytestmark = pytest.mark.usefixtures("no_power_cut")

Simulate = Callable[..., list[ev.Stamped]]
Same = Callable[[RunState], bytes]
Write = Callable[[list[ev.Stamped]], Path]


@pytest.fixture
def write(tmp_path: Path, about: About) -> Write:
    """A closed run file of these events."""

    def make(stamps: list[ev.Stamped]) -> Path:
        path = tmp_path / "r.atts"
        writer = RunWriter.create(path, about)
        for begin in range(0, len(stamps), 100):
            writer.append(stamps[begin : begin + 100])
        writer.close()
        return path

    return make


def all_of(file: RunFile) -> list[ev.Stamped]:
    return [stamp for batch in file.events() for stamp in batch]


def test_cut_off_anywhere_it_opens_up_to_its_last_whole_event(
    write: Write, simulate: Simulate, same: Same, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyframes, "EVERY", 200)
    stamps = simulate(1, problems=40, words=12)
    path = write(stamps)
    whole, counts = path.read_bytes(), []
    for share in (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 0.999):
        cut = tmp_path / "cut.atts"
        cut.write_bytes(whole[: int(len(whole) * share)])
        reader = RunReader.open(cut)
        file = RunFile.open(cut)
        left = all_of(file)
        assert left == stamps[: len(left)]
        assert same(reader.state) == same(RunState().fold(left))
        assert f"up to its event {len(left):,}" in reader.trouble
        counts.append(len(left))
        reader.close()
    assert counts == sorted(counts)
    # Little more is lost than what was cut away: the tables grow together.
    assert counts[2] > 0.35 * len(stamps)
    assert counts[-2] > 0.85 * len(stamps)


@pytest.mark.parametrize("seed", range(8))
def test_overwritten_anywhere_it_gives_whole_events_only(
    write: Write, simulate: Simulate, same: Same, seed: int
) -> None:
    stamps = simulate(2, problems=20)
    path, chance = write(stamps), random.Random(seed)
    with path.open("r+b") as file:
        file.seek(chance.randrange(3 * schema.PAGE_BYTES, path.stat().st_size - 5000))
        file.write(chance.randbytes(chance.choice([1, 50, 5000])))
    try:
        reader = RunReader.open(path)
    except (SettingsError, RunError) as error:
        assert str(path) in str(error)  # noqa: PT017
        return
    left = all_of(RunFile.open(path))
    assert left == stamps[: len(left)]
    assert len(left) == len(stamps) or RunFile.open(path).trouble or all_trouble(path)
    reader.close()


def all_trouble(path: Path) -> str:
    file = RunFile.open(path)
    all_of(file)
    return file.trouble


def test_a_damaged_event_ends_what_is_read(write: Write, simulate: Simulate) -> None:
    stamps = simulate(3)
    for damage, why in (
        ("UPDATE events SET body = '{' WHERE ordinal = 50", "an event cannot be read"),
        ("UPDATE events SET body = x'ff' WHERE ordinal = 50", "an event cannot be read"),
        ("UPDATE events SET seq = 'x' WHERE ordinal = 50", "missing"),
        ("UPDATE events SET seq = 7 WHERE ordinal = 50", "sequence number 7"),
        ("UPDATE events SET at = -1.0 WHERE ordinal = 50", "its time"),
        ("UPDATE events SET at = 9e999 WHERE ordinal = 50", "its time"),
        ("DELETE FROM events WHERE ordinal = 50", "missing"),
    ):
        path = write(stamps)
        change(path, damage)
        file = RunFile.open(path)
        assert all_of(file) == stamps[:49]
        assert why in file.trouble
        assert "event 49" in file.trouble
        with pytest.raises(RunError, match=r"damaged|not the file"):
            resume_without_keyframes(path)
        file.close()
        path.unlink()


def resume_without_keyframes(path: Path) -> None:
    change(path, "DELETE FROM keyframes")
    RunWriter.resume(path)


def change(path: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql, values)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "event",
    [
        ev.SampleStarted(problem=9, sample=0),
        ev.SampleStarted(problem=0, sample=-1),
        ev.DraftStarted(problem=0, sample=0, turn=10**9),
        ev.VoteChanged(problem=-1, tally=(), voted=0, ended=0),
        ev.ProblemAdded(problem=10**6, id="", question=""),
        ev.TokensStreamed(problem=0, sample=2, turn=0, role="draft", text="x", tokens=1),
        ev.TakeOverFinished(
            problem=0, sample=2, turn=0, text="x", tokens=1, ended=False, seconds=0, first_token_seconds=0
        ),
        ev.VerdictReached(
            problem=0, sample=0, turn=0, verdict="accept", ppl=None, p=None, alpha=0.5, threshold=None,
            mode="", rule="", size=0, tokens=0, seconds=0,
        ),
    ],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_an_event_that_cannot_follow_ends_a_viewer_with_a_sentence(
    event: ev.AnyEvent, write: Write, simulate: Simulate
) -> None:
    file = RunFile.open(hostile(write(simulate(4, problems=1)[:3]), event))
    assert file.state(file.last()).seq == 3
    assert "event 3" in file.trouble


def hostile(path: Path, event: ev.AnyEvent) -> Path:
    change(
        path, "INSERT INTO events VALUES (4, 99, 99.0, ?, NULL, NULL, ?)", type(event).__name__,
        msgspec.json.encode(event).decode(),
    )  # fmt: skip
    return path


def test_a_run_of_a_billion_samples_takes_no_memory(
    write: Write, run_started: Callable[..., ev.RunStarted]
) -> None:
    path = hostile(write([ev.Stamped(n, 1.0, ev.Warned(message="")) for n in (1, 2, 3)]), run_started(10**9))
    file = RunFile.open(path)
    assert file.state(file.last()).run is None
    assert "1000000000 samples" in file.trouble


def test_foreign_and_missing_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    text, empty, other = tmp_path / "text.atts", tmp_path / "empty.atts", tmp_path / "other.atts"
    text.write_text("not a database, but long enough to be one")
    empty.touch()
    sqlite3.connect(other).execute("CREATE TABLE events (x)").connection.commit()
    for path, why in (
        (tmp_path / "none.atts", "There is no run file"),
        (text, "is no run file of atts"),
        (empty, "is empty"),
        (other, "is no run file of atts"),
        (tmp_path, "cannot be read"),
    ):
        for opens in (RunFile.open, RunWriter.resume):
            with pytest.raises(SettingsError, match=why):
                opens(path)


def test_a_view_in_place_of_a_table_is_refused(write: Write, simulate: Simulate) -> None:
    path = write(simulate(5))
    change(path, "DROP TABLE kept")
    change(
        path,
        "CREATE VIEW kept AS WITH RECURSIVE n(name) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT * FROM n",
    )
    with pytest.raises(SettingsError, match="is no run file"):
        RunFile.open(path)


def test_a_file_of_a_newer_version_is_refused_with_the_version_named(
    write: Write, simulate: Simulate
) -> None:
    path = write(simulate(6))
    change(path, f"PRAGMA user_version={schema.newest_version() + 6}")
    change(path, "UPDATE meta SET value = '\"3.1\"' WHERE key = 'version'")
    for opens in (RunFile.open, RunWriter.resume):
        with pytest.raises(SettingsError, match=rf"version {schema.newest_version() + 6}, made by atts 3\.1"):
            opens(path)


def test_an_old_file_opens_in_a_newer_version(
    write: Write, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = simulate(7)
    path = write(stamps)
    before = path.read_bytes()

    def second(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE kept ADD COLUMN made REAL")

    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, second))
    file = RunFile.open(path)
    assert all_of(file) == stamps
    assert file.state(file.last()).seq == stamps[-1].seq
    file.close()
    assert path.read_bytes() == before, "reading changes no file"
    RunWriter.resume(path).close()
    monkeypatch.undo()
    with pytest.raises(SettingsError, match="version 2"):
        RunFile.open(path)


def test_keyframes_of_another_fold_are_not_used(write: Write, simulate: Simulate, same: Same) -> None:
    stamps = simulate(8)
    path = write(stamps)
    change(path, "UPDATE keyframes SET fold = 'another', body = x'00'")
    file = RunFile.open(path)
    assert same(file.state(file.last())) == same(RunState().fold(stamps))


@pytest.mark.parametrize("damage", ["body = x'00'", "pieces = x'00'", "body = 7", "pieces = body"])
def test_a_damaged_keyframe_is_only_a_longer_way(
    damage: str, write: Write, simulate: Simulate, same: Same
) -> None:
    stamps = simulate(9)
    path = write(stamps)
    change(path, f"UPDATE keyframes SET {damage}")  # noqa: S608
    file = RunFile.open(path)
    assert same(file.state(file.last())) == same(RunState().fold(stamps))
    assert file.trouble == ""


def as_another_user(action: Callable[[], None]) -> str:
    """What `action` prints where it runs without the rights of root."""
    receive, give = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            with os.fdopen(give, "w") as out, contextlib.redirect_stdout(out):
                action()
        finally:
            os._exit(0)
    os.close(give)
    with os.fdopen(receive) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_in_a_read_only_folder_it_can_be_watched_and_nothing_else(
    write: Write, simulate: Simulate, about: About
) -> None:
    stamps = simulate(10)
    folder = Path("/tmp") / f"atts-read-only-{os.getpid()}"  # noqa: S108  # where another user can look
    folder.mkdir()
    path = Path(shutil.copy(write(stamps), folder))

    def look() -> None:
        sys.stdout.write(f"{RunReader.open(path).state.seq}\n")
        for action in (
            lambda: RunWriter.resume(path),
            lambda: RunWriter.create(folder / "new.atts", about),
        ):
            try:
                action()
            except AttsError as error:
                sys.stdout.write(f"{error}\n")

    try:
        path.chmod(0o444)
        folder.chmod(0o555)
        seq, resumed, created = as_another_user(look).splitlines()
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    assert int(seq) == stamps[-1].seq
    assert "read-only" in resumed
    assert "--runs-dir" in created


def test_a_copy_of_a_running_file_without_its_log_opens(
    tmp_path: Path, about: About, simulate: Simulate
) -> None:
    writer = RunWriter.create(tmp_path / "r.atts", about)
    writer.append(simulate(11))
    copy = Path(shutil.copy(tmp_path / "r.atts", tmp_path / "copy.atts"))
    try:
        file = RunFile.open(copy)
        assert all_of(file) == simulate(11)[: file.last().ordinal]
    except SettingsError as error:
        assert str(copy) in str(error)  # noqa: PT017
    writer.close()


def test_the_life_of_an_engine() -> None:
    ours = mark()
    changed = msgspec.structs.replace
    assert life(ours) == "alive"
    assert life(None) == "gone"
    assert life(changed(ours, ended=True)) == "ended"
    assert life(changed(ours, beat=ours.beat - 11, beat_at=ours.beat_at - 11)) == "stalled"
    assert life(changed(ours, process="another")) == "gone"
    assert life(changed(ours, pid=2**22 + 1)) == "gone"
    elsewhere = changed(ours, boot="another")
    assert life(elsewhere) == "alive"
    assert life(changed(elsewhere, beat_at=ours.beat_at - 20)) == "stalled"
    assert life(changed(elsewhere, beat_at=ours.beat_at - 200)) == "gone"
    assert isinstance(msgspec.json.decode(msgspec.json.encode(ours), type=EngineMark), EngineMark)


def test_a_run_that_another_machine_writes_is_watched_there(write: Write, simulate: Simulate) -> None:
    path = write(simulate(5))
    there = msgspec.structs.replace(mark(), boot="another", host="gpu7")
    for engine, refused in ((there, True), (msgspec.structs.replace(there, ended=True), False)):
        change(path, "UPDATE meta SET value = ? WHERE key = 'engine'", msgspec.json.encode(engine).decode())
        for attach in (RunReader.open, Player.open):
            if refused:
                with pytest.raises(SettingsError, match=f"machine gpu7.*ssh -t gpu7 atts watch {path.stem}"):
                    attach(path)
            else:
                attach(path).close()
        if refused:
            with pytest.raises(RunError, match="ssh -t gpu7 atts watch"):
                RunWriter.resume(path)
        RunFile.open(path).close()  # whoever only looks once may


def test_a_player_of_a_damaged_file_stops_at_the_damage(write: Write, simulate: Simulate) -> None:
    path = write(simulate(12))
    change(path, "DELETE FROM keyframes")
    change(path, "UPDATE events SET body = '' WHERE ordinal = 100")
    now = 0.0
    player = Player.open(path, clock=lambda: now)
    player.play()
    now = 1e6
    assert len(player.drain()) == 99
    assert player.drain() == []
    assert player.ended
    assert "event 99" in player.trouble
