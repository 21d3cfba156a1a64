"""Settings: the nearest layer wins, a wrong value is named with its place, nothing is guessed."""

from pathlib import Path

import msgspec
import platformdirs
import pytest

from atts_core import config
from atts_core.config import EMBEDDED, SERVERS, Given, load
from atts_core.errors import SettingsError


def test_layers_in_order_nearest_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("atts.toml").write_text("samples = 4\nturns = 5\nseed = 6\n")
    layers = load(Given(seed=9), {"ATTS_TURNS": "7", "ATTS_SEED": "8"})
    settings = layers.resolve(SERVERS)
    assert (settings.samples, settings.turns, settings.seed) == (4, 7, 9)
    assert layers.origin("turns") == "ATTS_TURNS"
    assert layers.origin("samples") == "atts.toml: samples ="


def test_the_profile_fills_what_nobody_said() -> None:
    layers = load(Given(), {})
    servers, embedded = layers.resolve(SERVERS), layers.resolve(EMBEDDED)
    assert (servers.draft_tokens, servers.takeover, servers.conformal.mode) == (500, "continue", "online")
    assert (embedded.takeover, embedded.stop, embedded.conformal.mode) == ("rewrite", ("\n\n",), "marginal")
    assert servers.conformal.nominal_alpha == 0.6
    assert load(Given(takeover="continue"), {}).resolve(EMBEDDED).takeover == "continue"


def test_the_reference_rule_goes_with_a_stored_set() -> None:
    assert load(Given(rule="reference"), {}).resolve(SERVERS).conformal.mode == "marginal"


@pytest.mark.parametrize(
    ("given", "alpha"),
    [(Given(alpha=0.7), 0.7), (Given(takeover_rate=0.9), 0.1), (Given(budget=4.0), 0.75), (Given(), 0.6)],
)
def test_three_ways_to_say_alpha(given: Given, alpha: float) -> None:
    assert load(given, {}).resolve(SERVERS).conformal.nominal_alpha == alpha


def test_a_nearer_policy_replaces_a_farther_one_of_another_kind() -> None:
    layers = load(Given(budget=8.0), {"ATTS_ALPHA": "0.9"})
    assert layers.resolve(SERVERS).conformal.nominal_alpha == 0.5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given(samples=0), "--samples 0: samples must be at least 1"),
        (Given(turns=0), "--turns 0: "),
        (Given(alpha=2.0), "alpha is 2; it must lie strictly between 0 and 1"),
        (Given(takeover_rate=0.0), "take-over rate is 0"),
        (Given(budget=16.0), "budget is 16 of 16 samples"),
        (Given(alpha=0.5, budget=3.0), "--alpha and --budget say the same thing"),
        (Given(temperature=-1.0), "--temperature -1"),
        (Given(top_p=0.0), "--top-p 0"),
        (Given(seed=-1), "--seed -1"),
        (Given(draft_concurrency=0), "--draft-concurrency 0"),
        (Given(window=3, mode="online"), "window is 3"),
        (Given(rule="reference", mode="online"), "reference rule"),
        (Given(fps=0), "--fps 0"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(given: Given, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(given, {}).resolve(SERVERS)
    assert words in str(refused.value)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)
    assert refused.value.exit_status == 2


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("samples = 'x'", "Expected `int`, got `str` at `samples`"),
        ("samlpes = 3", "unknown field `samlpes`"),
        ("mode = 'sideways'", "Invalid enum value 'sideways' at `mode`"),
        ("samples = ", "Invalid value"),
        ("samples = 0", "samples = 0: samples must be at least 1"),
        ("api_key = 'secret'", "unknown field `api_key`"),
    ],
)
def test_a_bad_file_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toml: str, words: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(toml)
    with pytest.raises(SettingsError) as refused:
        load(Given(), {"ATTS_CONFIG": str(path)})
    assert str(path) in str(refused.value)
    assert words in str(refused.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load(Given(), {"ATTS_CONFIG": str(tmp_path / "none.toml")})
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        load(Given(), {"ATTS_CONFIG": str(tmp_path / "binary.toml")})


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="ATTS_SAMPLES=many: Expected `int"):
        load(Given(), {"ATTS_SAMPLES": "many"})
    with pytest.raises(SettingsError, match="ATTS_SAMPLES 0: samples must be"):
        load(Given(), {"ATTS_SAMPLES": "0"})


def test_a_variable_that_means_nothing_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="ATTS_SAMPELS means nothing to atts; is ATTS_SAMPLES meant"):
        load(Given(), {"ATTS_SAMPELS": "3"})


def test_a_wrong_threshold_is_named_with_its_place() -> None:
    with pytest.raises(SettingsError, match="ATTS_ALPHA: alpha is 2"):
        load(Given(), {"ATTS_ALPHA": "2"}).resolve(SERVERS)


def test_credentials_are_not_recorded() -> None:
    given = Given(draft="http://me:secret@gpu1:30000/x", target="https://gpu2")
    settings = load(given, {}).resolve(SERVERS)
    assert (settings.draft, settings.target) == (("http://gpu1:30000/x",), ("https://gpu2",))


def test_a_model_may_have_several_servers(tmp_path: Path) -> None:
    several = ("http://a:1", "http://b:1", "http://c:1")
    path = tmp_path / "atts.toml"
    path.write_text('draft = ["http://a:1", "http://b:1,http://c:1"]\ntarget = "http://a:1, http://b:1"')
    from_file = load(Given(), {"ATTS_CONFIG": str(path)})
    assert (from_file.urls("draft"), from_file.urls("target")) == (several, several[:2])
    assert load(Given(), {"ATTS_DRAFT": "http://a:1,http://b:1"}).urls("draft") == several[:2]
    given = Given(draft=("http://me:secret@a:1", "http://b:1"), target="http://a:1,http://x:y@c:1")
    settings = load(given, {"ATTS_DRAFT": "http://z:1"}).resolve(SERVERS)
    assert (settings.draft, settings.target) == (several[:2], ("http://a:1", "http://c:1"))


@pytest.mark.parametrize("urls", ["http://a:1,", "", ("http://a:1", " ")])
def test_an_empty_address_is_refused(urls: str | tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="--draft has an empty address"):
        load(Given(draft=urls), {})


def test_a_server_named_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="--target names http://a:1 twice"):
        load(Given(target=("http://a:1", "http://me:secret@a:1/")), {})


def test_recorded_settings_of_older_runs_name_one_server_or_none() -> None:
    settings = load(Given(draft="http://a:1", target="http://b:1"), {}).resolve(SERVERS)
    recorded = msgspec.to_builtins(settings)
    assert config.recorded_settings(recorded) == settings
    for name in ("timeout_connect", "timeout_first_token", "timeout_between_tokens", "timeout_total"):
        del recorded[name]  # there were none then
    assert config.recorded_settings({**recorded, "draft": "http://a:1", "target": "http://b:1"}) == settings
    embedded = config.recorded_settings({**recorded, "draft": None, "target": None})
    assert (embedded.draft, embedded.target) == ((), ())
    for foreign in (5, [5], {"a": 1}):
        with pytest.raises(msgspec.ValidationError):
            config.recorded_settings({**recorded, "draft": foreign})
    again = load(Given(), {}, run=settings)
    assert again.urls("draft") == ("http://a:1",)
    assert load(Given(), {}, run=embedded).urls("draft") == ()


def test_servers_of_ones_own_are_waited_for_as_long_as_a_model_takes_to_load() -> None:
    given = Given(draft="http://a:1", target="http://b:1")
    assert load(given, {}).resolve(EMBEDDED).patience == config.PATIENCE
    assert load(Given(), {}).resolve(EMBEDDED).patience == config.OWN_PATIENCE
    assert load(Given(patience=5), {}).resolve(EMBEDDED).patience == 5
    alone = Given(target="http://b:1", strategy="target-only")
    assert load(alone, {}).resolve(EMBEDDED).patience == config.PATIENCE


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_is_a_positive_number_of_seconds(wrong: float) -> None:
    with pytest.raises(SettingsError, match="timeout first token must be a number of seconds"):
        load(Given(timeout_first_token=wrong), {})
    assert load(Given(timeout_first_token=3), {}).resolve(SERVERS).timeouts.first_token == 3


def test_a_file_in_the_users_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(platformdirs.user_config_dir("atts"))
    folder.mkdir(parents=True)
    (folder / "atts.toml").write_text("samples = 3")
    assert load(Given(), {}).resolve(SERVERS).samples == 3
