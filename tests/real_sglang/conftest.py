"""Real SGLang servers that serve the embedded pair, given by ATTS_REAL_SGLANG_DRAFT and _TARGET.

`make test-sglang` (run.py) installs them, starts them with `atts servers up` and runs these tests. By hand,
on servers of any release and hardware, with both models exported by `python -m atts_core.embedded.export
DIR` and served with `--context-length 512 --dtype float32`:

    ATTS_REAL_SGLANG_DRAFT=http://gpu1:30000 ATTS_REAL_SGLANG_TARGET=http://gpu1:30100 \\
        python -m pytest tests/real_sglang -s
"""

import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from atts_core.events import Role
from atts_core.serving.client import SGLangClient
from atts_core.serving.timeouts import Timeouts
from atts_core.serving.tokenizers import Tokenizer, load_tokenizer

sys.path.insert(0, str(Path(__file__).parent))

LIMITS = Timeouts(first_token=600, between_tokens=600, total=600, control=120)
"""So long that a slow machine comes to its end by the limit of run.py, and not by a test that fails."""


@dataclass
class Real:
    """One of the two servers."""

    role: Role
    client: SGLangClient
    tokenizer: Tokenizer


@pytest.fixture(params=["draft", "target"])
async def real(request: pytest.FixtureRequest) -> AsyncIterator[Real]:
    role = cast("Role", request.param)
    url = os.environ.get(f"ATTS_REAL_SGLANG_{role.upper()}")
    if not url:
        pytest.skip(f"ATTS_REAL_SGLANG_{role.upper()} is not set: no real server to try")
    async with SGLangClient(url, role=role, connections=24, timeouts=LIMITS) as client:
        tokenizer = load_tokenizer(client.info.tokenizer_path)
        client.use_vocabulary(tokenizer.vocab_size)
        yield Real(role, client, tokenizer)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> str:
    """`ATTS_HOME`, where the state of the pair `real` lies."""
    found = os.environ.get("ATTS_REAL_SGLANG_HOME")
    if not found:
        pytest.skip("ATTS_REAL_SGLANG_HOME is not set: run.py starts what is killed here")
    monkeypatch.setenv("ATTS_HOME", found)
    return found
