"""One model drafts, scores its own step, and goes on after one that surprises it.

This is `atts` with `continue` where draft and target are the same server: what is gained without a second
model. The step that follows a rejected one counts among the target's tokens, though the same model wrote it.
"""

from atts_core.engine.strategies.atts import Atts


class SelfRefine(Atts):
    """The pair holds one model twice; nothing else differs."""
