"""From preset, file and options to commands: what is said wins, what cannot be is refused in a sentence."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given as any_of
from hypothesis import strategies as st

from atts_core.config import Given, load
from atts_core.errors import SettingsError
from atts_core.servers.gpus import require_gpus
from atts_core.servers.plan import make_plan, merge_settings, without_keys
from atts_core.servers.presets import PRESETS
from atts_core.servers.pythons import Found
from atts_core.servers.settings import RoleGiven, ServersGiven
from atts_core.telemetry.readings import GpuReading

FOUND = Found("/opt/sglang/bin/python", "0.5.23", "0.3.2")
MODELS = {"draft": RoleGiven(model="small"), "target": RoleGiven(model="large")}


def command(preset: str, number: int = 0, **more: object) -> list[str]:
    plan = make_plan(ServersGiven(preset=preset, **more), "main", FOUND)  # type: ignore[arg-type]
    return list(plan.servers[number].command)


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "embedded"])
def test_the_pairs_of_the_paper(preset: str) -> None:
    plan = make_plan(ServersGiven(preset=preset), "main", FOUND)
    draft, target = plan.servers
    assert draft.command[:3] == (FOUND.python, "-m", "sglang.launch_server")
    assert after(list(draft.command), "--model-path") == PRESETS[preset][0].model
    assert after(list(target.command), "--tp-size") == "2"
    assert (draft.gpus, target.gpus) == (("0",), ("1", "2"))
    assert draft.env["CUDA_VISIBLE_DEVICES"] == "0"
    assert "--enable-metrics" in target.command
    assert "--enable-deterministic-inference" not in target.command
    assert (plan.urls("draft"), plan.urls("target")) == (
        ("http://127.0.0.1:30000",),
        ("http://127.0.0.1:30100",),
    )


def test_a_shown_command_is_what_a_shell_takes() -> None:
    args = ("--json-model-override-args", '{"rope": 1}', "--api-key", "s3cret", "--hf-token=abc")
    plan = make_plan(ServersGiven(preset="r1-8b+qwq", args=args, env={"HF_TOKEN": "hf_x"}), "main", FOUND)
    shown = plan.servers[1].shown()
    words = shlex.split(shown)
    assert "s3cret" not in shown
    assert "hf_x" not in shown
    assert "abc" not in shown
    assert words[0] == "CUDA_VISIBLE_DEVICES=1,2"
    assert after(words, "--json-model-override-args") == '{"rope": 1}'


def test_keys_alone_are_hidden() -> None:
    kept = ("--tokenizer-path", "x", "--port", "1")
    assert without_keys(kept) == kept


def test_options_win_over_the_file_and_the_file_over_the_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("atts.toml").write_text(
        '[servers]\npreset = "qwen7b+qwq"\nargs = ["--a"]\nenv = {X = "1"}\n'
        '[servers.draft]\nport = 1234\ngpus = [3]\nmem_fraction = 0.5\nargs = ["--b"]\nenv = {Y = "2"}\n'
        '[servers.target]\ngpus = ["GPU-1-a", "GPU-2-b"]\n'
    )
    said = load(Given(), {}).given().servers
    assert said is not None
    near = ServersGiven(draft=RoleGiven(port=999, args=("--c",)), target=RoleGiven(tp=1, gpus=("7",)))
    draft, target = make_plan(merge_settings(said, near), "main", FOUND).servers
    assert (draft.port, draft.gpus, draft.env["X"], draft.env["Y"]) == (999, ("3",), "1", "2")
    assert draft.command[-3:] == ("--a", "--b", "--c")
    assert after(list(draft.command), "--mem-fraction-static") == "0.5"
    assert (target.gpus, after(list(target.command), "--tp-size")) == (("7",), "1")


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[servers]\npreset = 3", "Expected `str`, got `int` at `servers.preset`"),
        ("[servers]\nprest = 'x'", "unknown field `prest` at `servers`"),
        ("[servers.draft]\ngpu = [0]", "unknown field `gpu` at `servers.draft`"),
        ("[servers.draft]\nmem_fraction = 'most'", "at `servers.draft.mem_fraction`"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toml: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("atts.toml").write_text(toml)
    with pytest.raises(SettingsError) as refused:
        load(Given(), {})
    assert words in str(refused.value)


def test_no_variable_says_what_a_table_says() -> None:
    with pytest.raises(SettingsError, match="ATTS_SERVERS means nothing"):
        load(Given(), {"ATTS_SERVERS": "x"})


def test_workers_share_the_gpus_out_and_take_the_next_ports() -> None:
    given = ServersGiven(
        workers=2,
        draft=RoleGiven(model="small", gpus=(0, 1)),
        target=RoleGiven(model="large", gpus=(2, 3, 4, 5), tp=2),
    )
    plan = make_plan(given, "main", FOUND)
    assert [(s.label, s.port, s.gpus) for s in plan.servers] == [
        ("draft-1", 30000, ("0",)),
        ("draft-2", 30001, ("1",)),
        ("target-1", 30100, ("2", "3")),
        ("target-2", 30101, ("4", "5")),
    ]
    assert plan.urls("target") == ("http://127.0.0.1:30100", "http://127.0.0.1:30101")
    assert [len(wave) for wave in plan.waves()] == [4]


def test_a_router_stands_at_the_roles_own_port() -> None:
    plan = make_plan(ServersGiven(workers=2, router=True, **MODELS), "main", FOUND)
    labels = [(s.label, s.port) for s in plan.servers if s.role == "draft"]
    assert labels == [("draft-1", 30001), ("draft-2", 30002), ("draft-router", 30000)]
    assert plan.urls("draft") == ("http://127.0.0.1:30000",)
    router = list(next(s for s in plan.servers if s.kind == "router").command)
    assert after(router, "--policy") == "cache_aware"
    at = router.index("--worker-urls")
    assert router[at + 1 : at + 3] == ["http://127.0.0.1:30001", "http://127.0.0.1:30002"]
    assert [[s.label for s in wave] for wave in plan.waves()][-1] == ["draft-router", "target-router"]


def test_servers_that_share_a_gpu_start_one_after_the_other() -> None:
    given = ServersGiven(
        draft=RoleGiven(model="small", gpus=(0,)), target=RoleGiven(model="large", gpus=(0,))
    )
    assert [[s.label for s in wave] for wave in make_plan(given, "main", FOUND).waves()] == [
        ["draft"],
        ["target"],
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (ServersGiven(), "The draft has no model"),
        (ServersGiven(preset="r1"), "--preset r1: there is no such preset"),
        (ServersGiven(preset="r1-8b+qwq", workers=0), "--workers 0"),
        (ServersGiven(preset="r1-8b+qwq", workers=2), "The draft needs 2 GPUs"),
        (ServersGiven(preset="r1-8b+qwq", target=RoleGiven(tp=4)), "The target needs 4 GPUs"),
        (ServersGiven(preset="r1-8b+qwq", target=RoleGiven(gpus=("a", "b"))), "neither the number nor"),
        (ServersGiven(preset="r1-8b+qwq", target=RoleGiven(gpus=(1, 1))), "named twice"),
        (ServersGiven(preset="r1-8b+qwq", draft=RoleGiven(mem_fraction=1.5)), "--draft-mem-fraction 1.5"),
        (ServersGiven(preset="r1-8b+qwq", draft=RoleGiven(port=70000)), "The draft's port is 70000"),
        (ServersGiven(preset="r1-8b+qwq", draft=RoleGiven(port=30100)), "would both have port 30100"),
        (ServersGiven(preset="r1-8b+qwq", draft=RoleGiven(context_length=0)), "--draft-context 0"),
        (ServersGiven(preset="r1-8b+qwq", patience=0.0), "--patience 0"),
        (ServersGiven(preset="embedded", draft=RoleGiven(gpus=(0,))), "--draft-gpus: the embedded pair"),
        (ServersGiven(preset="embedded", deterministic=True), "--deterministic"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(given: ServersGiven, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        make_plan(given, "main", FOUND)
    assert words in str(refused.value)
    assert str(refused.value).endswith(".")


def test_deterministic_inference_by_release() -> None:
    given = ServersGiven(preset="r1-8b+qwq", deterministic=True)
    plan = make_plan(given, "main", FOUND)
    assert all("--enable-deterministic-inference" in server.command for server in plan.servers)
    with pytest.raises(SettingsError, match=r"from 0\.5\.3 on; .* has 0\.4\.10"):
        make_plan(given, "main", Found("python", "0.4.10"))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "x" * 41])
def test_names_that_are_no_folder(name: str) -> None:
    with pytest.raises(SettingsError, match="--name"):
        make_plan(ServersGiven(preset="embedded"), name, FOUND)


@any_of(workers=st.integers(1, 4), tp=st.integers(1, 4), router=st.booleans())
def test_no_gpu_and_no_port_is_given_twice(workers: int, tp: int, router: bool) -> None:
    given = ServersGiven(
        workers=workers,
        router=router,
        draft=RoleGiven(model="small", gpus=tuple(range(workers))),
        target=RoleGiven(model="large", tp=tp, gpus=tuple(range(workers, workers + tp * workers))),
    )
    plan = make_plan(given, "main", FOUND)
    gpus = [gpu for server in plan.servers for gpu in server.gpus]
    assert len(gpus) == len(set(gpus)) == workers * (1 + tp)
    assert len({server.port for server in plan.servers}) == len(plan.servers)
    assert sorted(s.label for wave in plan.waves() for s in wave) == sorted(s.label for s in plan.servers)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    one = GpuReading(index=0, name="NVIDIA H200")
    slice_of_it = GpuReading(index=0, name="NVIDIA H200", instance="1g.18gb #7")
    plan = make_plan(ServersGiven(preset="r1-8b+qwq"), "main", FOUND)
    monkeypatch.setattr("atts_core.servers.gpus.read_gpus", lambda: ((one, slice_of_it), ""))
    with pytest.raises(SettingsError, match="The target is to use GPU 1, but this machine has only GPU 0"):
        require_gpus(plan)
    monkeypatch.setattr("atts_core.servers.gpus.read_gpus", lambda: ((), "no driver"))
    require_gpus(plan)  # nothing is known: SGLang itself says what it misses


def test_a_preset_on_the_command_line_names_the_models_anew() -> None:
    said = RoleGiven(model="mine", gpus=(5,), port=1234)
    far = ServersGiven(deterministic=True, args=("--x",), draft=said, target=RoleGiven(model="mine too"))
    draft, _ = make_plan(merge_settings(far, ServersGiven(preset="qwen7b+qwq")), "main", FOUND).servers
    assert (draft.model, draft.gpus, draft.port) == ("Qwen/Qwen2.5-7B-Instruct", ("5",), 1234)
    embedded = make_plan(merge_settings(far, ServersGiven(preset="embedded")), "main", FOUND)
    assert [(s.model, s.port, s.gpus) for s in embedded.servers] == [
        ("draft", 1234, ()),
        ("target", 30100, ()),
    ]
