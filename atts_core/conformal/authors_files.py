"""The authors' calibration files: flat .npy (marginal) and per-question .npy (conditional)."""

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atts_core.conformal.calibration import MOST_SCORES, Calibration, check_perplexities, flat_calibration
from atts_core.conformal.identity import Identity
from atts_core.conformal.npy import read_data, read_header, replacing
from atts_core.conformal.pickled_scores import read_pickled_scores
from atts_core.errors import SettingsError

AUTHORS_SAMPLES = 16
"""Samples of a question in the files they publish; theirs say nothing about it."""
_MOST_PICKLED = 200_000_000


def load_authors_file(path: Path, samples: int = AUTHORS_SAMPLES) -> Calibration:
    """Scores of turn 0 from an .npy of shape (questions * samples,) or (questions, samples), or from one that
    holds a pickled {question: [scores]}, which is read without executing it.

    `samples` counts for the flat one. Questions are named "0", "1", … by their place, or by their key.
    SettingsError for anything else.
    """
    source = str(path)
    try:
        with path.open("rb") as file:
            header = read_header(file, source)
            shape, _, dtype = header
            if dtype.hasobject:
                return _per_question(file.read(_MOST_PICKLED), source)
            array = np.asarray(read_data(file, header, MOST_SCORES, source), dtype=np.float64)
    except FileNotFoundError:
        raise SettingsError(f"There is no calibration file {path}.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from None
    if array.ndim == 2 and array.size:
        return flat_calibration(array.ravel(), shape[1], source=source)
    return flat_calibration(array, samples, source=source)


def _per_question(pickled: bytes, source: str) -> Calibration:
    scores = read_pickled_scores(pickled, source)
    # They key by question number; a dictionary may hold them in any order.
    names = sorted(
        scores, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
    )
    own = [np.asarray(scores[name], dtype=np.float64) for name in names]
    ppl = np.concatenate(own) if own else np.empty(0)
    check_perplexities(ppl, source)
    return Calibration(
        ppl=ppl,
        turn=np.zeros(len(ppl), dtype=np.int32),
        problem=np.repeat(np.arange(len(names), dtype=np.int32), [len(part) for part in own]),
        sample=np.concatenate([np.arange(len(part), dtype=np.int32) for part in own]),
        problems=tuple(names),
        identity=Identity(takeover="none"),
        source=source,
    )


def save_authors_file(
    calibration: Calibration, path: Path, *, per_question: bool = False, overwrite: bool = False
) -> None:
    """The turn-0 scores in the authors' layout, which keeps neither turns nor identity.

    Flat: shape (questions * samples,). `per_question`: shape (questions, samples), without the pickle of
    theirs (their programs index both the same way). SettingsError where problems have different numbers of
    samples, which their layout cannot say, or where the file exists and `overwrite` is not set.
    """
    first = calibration.turn == 0
    order = np.lexsort((calibration.sample[first], calibration.problem[first]))
    ppl: NDArray[np.float64] = calibration.ppl[first][order]
    counts = np.bincount(calibration.problem[first], minlength=len(calibration.problems))
    if len(ppl) == 0 or counts.min() != counts.max():
        raise SettingsError(
            f"{calibration.source} does not hold the same number of turn-0 scores for every problem, which"
            " the authors' files need; keep it in the format of atts."
        )
    buffer = io.BytesIO()
    shaped = ppl.reshape(-1, math.ceil(counts[0])) if per_question else ppl
    np.lib.format.write_array(buffer, np.ascontiguousarray(shaped), allow_pickle=False)
    with replacing(path, overwrite=overwrite) as file:
        file.write(buffer.getvalue())
