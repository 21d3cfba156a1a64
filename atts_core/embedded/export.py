"""`python -m atts_core.embedded.export DIR`: the embedded pair as two Hugging Face folders for SGLang.

Then, for example: `python -m sglang.launch_server --model-path DIR/draft --context-length 512`.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

import msgspec
from safetensors.numpy import load_file

from atts_core.embedded.folder import Dtype, write_weights
from atts_core.errors import AttsError, SettingsError

MODELS: Final = Path(__file__).parent / "models"
_NAMES: Final = ("draft", "target")


def export(folder: Path, dtype: Dtype, models: Path = MODELS) -> list[Path]:
    """Writes `folder`/draft and `folder`/target, with weights stored as `dtype`, and returns both paths.

    Raises:
        SettingsError: one exists already, `folder` cannot be written, or the shipped models are missing.
    """
    created = [folder / name for name in _NAMES]
    for path in created:
        if path.exists():
            raise SettingsError(f"{path} exists already: name another folder, or remove it first.")
    for name in _NAMES:
        if not (models / name / "model.safetensors").is_file():
            raise SettingsError(f"The embedded models are missing from {models}: install atts again.")
    try:
        for name, path in zip(_NAMES, created, strict=True):
            shutil.copytree(models / name, path)
            config = msgspec.json.decode((path / "config.json").read_bytes())
            if config["torch_dtype"] != dtype:
                write_weights(path, load_file(path / "model.safetensors"), dtype)
                config["torch_dtype"] = dtype
                (path / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=1))
    except (OSError, shutil.Error) as error:
        raise SettingsError(f"The embedded models could not be written to {folder}: {error}.") from error
    return created


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m atts_core.embedded.export",
        description="Writes the embedded pair as two Hugging Face Llama folders, DIR/draft and DIR/target.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument(
        "--dtype",
        choices=get_args(Dtype),
        default="float32",
        help="how the weights are stored; float32 (the default) is what the embedded server computes with",
    )
    options = parser.parse_args(arguments)
    try:
        for path in export(options.folder, options.dtype):
            sys.stdout.write(f"{path}\n")
    except AttsError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
