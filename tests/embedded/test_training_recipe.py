"""The trainer in miniature (skipped without torch): batches, a short stage, conversion, evaluation."""

import math

import msgspec
import pytest

torch = pytest.importorskip("torch")

from atts_core.embedded.tokenizer import (  # noqa: E402
    BOS,
    CHAT_TEMPLATE,
    EOS,
    PAD,
    UNKNOWN,
    EmbeddedTokenizer,
)
from atts_core.embedded.training import evaluate, recipe  # noqa: E402
from atts_core.embedded.training.__main__ import main as train_main  # noqa: E402
from atts_core.embedded.training.convert import (  # noqa: E402
    from_hugging_face,
    load_decoder,
    to_hugging_face,
)
from atts_core.embedded.training.data import batches  # noqa: E402
from atts_core.embedded.training.recipe import STAGES, new_decoder, train  # noqa: E402
from atts_core.embedded.training.sampling import mean_surprise, sample  # noqa: E402
from atts_core.embedded.training.vocabulary import build_vocabulary  # noqa: E402
from atts_core.problems.builtin import check_step  # noqa: E402


@pytest.fixture(autouse=True)
def two_reports_a_stage(monkeypatch):
    monkeypatch.setattr(recipe, "_REPORTS", 2)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def vocabulary():
    return build_vocabulary()


@pytest.fixture(scope="module")
def tokenizer(vocabulary):
    ids = {text: i for i, text in enumerate(vocabulary)}
    return EmbeddedTokenizer(ids, frozenset({PAD, BOS, EOS, UNKNOWN}), CHAT_TEMPLATE)


def test_batches_repeat_and_ask_only_for_what_the_models_write(tokenizer):
    first, again = batches(tokenizer, 5, 2048, 0.5), batches(tokenizer, 5, 2048, 0.5)
    for _ in range(4):
        (ids, wanted), (same_ids, same_wanted) = next(first), next(again)
        assert torch.equal(ids, same_ids)
        assert torch.equal(wanted, same_wanted)
        assert ids.numel() <= 2048
        for row, goals in zip(ids.tolist(), wanted.tolist(), strict=True):
            assert all(goal in (-100, token) for goal, token in zip(goals, row[1:], strict=False))
            written = tokenizer.decode([goal for goal in goals if goal != -100])
            if "boxed" in written:
                assert all(check_step(step) is not False for step in written.split("\n\n"))


def test_a_short_stage_learns_and_repeats(tokenizer, vocabulary):
    stage = msgspec.structs.replace(STAGES[0], tokens=30_000, batch=1024)
    lines: list[str] = []
    models = [new_decoder("draft", len(vocabulary), 3) for _ in range(2)]
    for model in models:
        assert train(model, stage, tokenizer, 3, lines.append) >= 30_000
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines]
    assert losses[1] < losses[0] - 0.5
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))


def test_conversion_is_lossless(vocabulary):
    model = new_decoder("draft", len(vocabulary), 4)
    torch.nn.init.normal_(model.head.weight)
    back = from_hugging_face(to_hugging_face(model), model.shape)
    ids = torch.randint(5, len(vocabulary), (2, 40))
    assert torch.equal(model(ids), back(ids))


def test_padding_and_company_change_nothing_that_is_sampled_or_scored(tokenizer, vocabulary):
    model = new_decoder("draft", len(vocabulary), 4)
    torch.nn.init.normal_(model.head.weight)
    contexts = [tokenizer.encode("Let a = 3 + 4."), tokenizer.encode("What is a?" * 9), [1]]
    cold = 1e-4
    with torch.no_grad():
        together = sample(model, contexts, frozenset({2}), 20, cold, torch.Generator().manual_seed(0))
        for context, text in zip(contexts, together, strict=True):
            alone = sample(model, [context], frozenset({2}), 20, cold, torch.Generator().manual_seed(9))
            assert alone == [text]
            logits = torch.log_softmax(model(torch.tensor([context + text])), -1)[0]
            expected = -sum(float(logits[len(context) - 1 + i, token]) for i, token in enumerate(text)) / len(
                text
            )
            assert mean_surprise(model, [context, contexts[1]], [text, [5]])[0] == pytest.approx(
                expected, abs=1e-4
            )


def test_the_command_writes_two_loadable_folders_and_they_can_be_evaluated(tmp_path, capsys):
    assert train_main(["--scale", "0.0002", "--out", str(tmp_path)]) == 0
    assert "float16 changes a log-probability" in capsys.readouterr().out
    assert load_decoder(tmp_path / "target").shape.hidden == 192
    assert evaluate.main(["--models", str(tmp_path), "--problems", "4", "--samples", "1"]) == 0
    said = capsys.readouterr().out
    assert "| target alone |" in said
    assert "| rewrite, at random | 0.40 |" in said


@pytest.mark.parametrize(
    ("wrong", "right", "area"),
    [([3.0, 4.0], [1.0, 2.0], 1.0), ([1.0], [1.0], 0.5), ([1.0, 3.0], [2.0], 0.5), ([1.0], [2.0], 0.0)],
)
def test_the_area_under_the_curve(wrong, right, area):
    assert evaluate.auroc(wrong, right) == area


def test_the_area_needs_both_kinds():
    assert math.isnan(evaluate.auroc([], [1.0]))
