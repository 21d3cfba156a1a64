"""`python -m atts_core.embedded.training`: trains the embedded pair from one seed and writes its folders."""

import argparse
import sys
import time
from itertools import islice
from pathlib import Path

import msgspec
import torch

from atts_core.embedded.folder import write_folder
from atts_core.embedded.tokenizer import (
    BOS,
    CHAT_TEMPLATE,
    EOS,
    PAD,
    UNKNOWN,
    EmbeddedTokenizer,
)
from atts_core.embedded.training.convert import load_decoder, to_hugging_face
from atts_core.embedded.training.data import solution
from atts_core.embedded.training.evaluate import MODELS
from atts_core.embedded.training.model import Decoder
from atts_core.embedded.training.recipe import STAGES, new_decoder, train
from atts_core.embedded.training.vocabulary import build_vocabulary
from atts_core.problems.builtin.streams import endless


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m atts_core.embedded.training", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the weights and of the training data (default 1)"
    )
    parser.add_argument("--out", type=Path, default=MODELS, help="where draft/ and target/ are written")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="shortens every stage, for a trial (default 1)"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    vocabulary = build_vocabulary()
    ids = {text: i for i, text in enumerate(vocabulary)}
    tokenizer = EmbeddedTokenizer(ids, frozenset({PAD, BOS, EOS, UNKNOWN}), CHAT_TEMPLATE)
    for name in ("draft", "target"):
        began, seen = time.monotonic(), 0
        model = new_decoder(name, len(vocabulary), options.seed)
        for stage in STAGES:
            if stage.model == name:
                shorter = msgspec.structs.replace(stage, tokens=int(stage.tokens * options.scale))
                seen += train(model, shorter, tokenizer, options.seed, _say)
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        write_folder(folder, model.shape, to_hugging_face(model), vocabulary, "float16")
        with torch.no_grad():
            error = _rounding_error(model.eval(), load_decoder(folder), tokenizer)
        _say(
            f"{name}: {seen / 1e6:.1f}M tokens in {time.monotonic() - began:.0f} s, written to {folder}; "
            f"float16 changes a log-probability by at most {error:.4f}"
        )
    return 0


def _say(line: str) -> None:
    sys.stdout.write(time.strftime("%H:%M:%S ") + line + "\n")
    sys.stdout.flush()


def _rounding_error(exact: Decoder, stored: Decoder, tokenizer: EmbeddedTokenizer) -> float:
    """Largest difference of a solution token's log-probability between two versions of a model."""
    worst = 0.0
    for problem in islice(endless("calibration", 3), 200):
        prompt = tokenizer.render([{"role": "user", "content": problem.question}])
        ids = torch.tensor([prompt + tokenizer.encode(solution(problem))])
        both = [torch.log_softmax(model(ids), -1)[0, len(prompt) - 1 : -1] for model in (exact, stored)]
        written = ids[0, len(prompt) :, None]
        difference = both[0].gather(1, written) - both[1].gather(1, written)
        worst = max(worst, float(difference.abs().max()))
    return worst


if __name__ == "__main__":
    sys.exit(main())
