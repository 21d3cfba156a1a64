"""When the vote of a problem is decided before all of its samples have ended.

**Exactly**: the leading answer has more votes than any other could still come to. Nothing is assumed.

**With a stated chance of error** ε: at most a share ε of problems is stopped with another answer than the one
that the votes of all m samples would have given, whatever those votes are. The argument: samples differ by
their seeds alone, so the answers of samples 0, 1, … are draws without replacement from the m answers, in an
order that says nothing about them. (The order in which samples *end* does say something: short chains end
first. So only samples before which all others have ended are looked at.) For every answer b, seen or not, a
capital of 1 is bet against "b has at least as many votes as any other in the end". Before each draw the
leader a is known; the capital wins where a is drawn and loses where b is:

    K_b ← K_b · (1 + μ/r) where a is drawn, K_b · (1 − μ) where b is drawn, unchanged else,

with r = (U − n_a) / (U − n_b), where n are the counts so far and U is half of what a and b can have together
(m less the others so far), rounded down. Where b is not behind a in the end, a is drawn at most r times as
often as b: the odds are (N_a − n_a) : (N_b − n_b) with N_a ≤ N_b and N_a ≤ U, and n_a ≥ n_b. So K_b does not
grow in expectation, and by Ville's inequality it ever reaches 1/ε with probability at most ε. The problem is
decided when every b but the leader has once been refuted so, or cannot catch up any more; then the true
winner was wrongly refuted with probability at most ε. The stake 0 ≤ μ ≤ 1 may be anything known before the
draw; here it is Kelly's for the counts so far. A tie of all m votes counts as an error.

Sources: betting without replacement, Waudby-Smith & Ramdas, "Estimating means of bounded random variables by
betting", JRSS B 2024 (arXiv 2010.09686), section 4; Ville 1939. The usual rule, stopping when the posterior
probability that the leader is the likeliest answer exceeds 1 − ε (Aggarwal et al., "Let's Sample Step by
Step: Adaptive-Consistency", EMNLP 2023, arXiv 2305.11860), stops a little earlier, and its 1 − ε is a belief
under a uniform prior, not an error rate.
"""

import math
from collections import Counter

from atts_core.engine.spelling import normalise

_PRIOR = 0.125
"""What the stake adds to each count: votes of one problem tend to agree, so a small number."""


class Decided:
    """Watches one problem's samples end."""

    def __init__(self, samples: int, error: float) -> None:
        """`error`: chance of another answer than that of all samples, 0 for none."""
        self._samples = samples
        self._error = error
        self._ended: dict[int, str | None] = {}
        self._votes: Counter[str] = Counter()
        self._next = 0
        self._bets = Bets(samples)

    def ends(self, sample: int, answer: str | None) -> bool:
        """Take one sample's end; whether the vote is decided now."""
        vote = None if answer is None else normalise(answer)
        self._ended[sample] = vote
        if vote is not None:
            self._votes[vote] += 1
        while self._next in self._ended:
            self._bets.draw(self._ended[self._next])
            self._next += 1
        leader = self._leader()
        if leader is None:
            return False
        left = self._samples - len(self._ended)
        first, second = [*(count for _, count in self._votes.most_common(2)), 0][:2]
        if first > second + left:
            return True
        return self._error > 0 and self._bets.leader == leader and self._bets.refuted(1 / self._error)

    def _leader(self) -> str | None:
        """Who has more votes than any other."""
        ranked = self._votes.most_common(2)
        if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
            return None
        return ranked[0][0]


class Bets:
    """Capital against every answer's winning, over answers drawn in order; None is a sample without one."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._drawn = 0
        self._counts: Counter[str] = Counter()
        self._capital: dict[str, float] = {}
        self._highest: dict[str, float] = {}
        self._unseen = self._unseen_highest = 1.0

    @property
    def leader(self) -> str | None:
        """The answer with most votes, of equals the first seen."""
        return max(self._counts, key=self._counts.__getitem__, default=None)

    def draw(self, vote: str | None) -> None:
        """Bet on the next answer, then see it."""
        leader = self.leader
        if vote is not None and vote not in self._capital:
            self._capital[vote], self._highest[vote] = self._unseen, self._unseen_highest
            new = True
        else:
            new = False
        if leader is not None:
            for other in self._capital:
                if other != leader:
                    count = 0 if new and other == vote else self._counts[other]
                    self._capital[other] *= self._factor(leader, count, vote == leader, vote == other)
                    self._highest[other] = max(self._highest[other], self._capital[other])
            self._unseen *= self._factor(leader, 0, vote == leader, False)
            self._unseen_highest = max(self._unseen_highest, self._unseen)
        self._drawn += 1
        if vote is not None:
            self._counts[vote] += 1

    def refuted(self, capital: float) -> bool:
        """Whether every answer but the leader has once lost `capital` to one, or cannot catch up."""
        leader = self.leader
        if leader is None:
            return False
        ahead, left = self._counts[leader], self._samples - self._drawn
        others = [(self._counts[vote], self._highest[vote]) for vote in self._capital if vote != leader]
        others.append((0, self._unseen_highest))
        return all(count + left < ahead or highest >= capital for count, highest in others)

    def _factor(self, leader: str, count: int, won: bool, lost: bool) -> float:
        """What becomes of the capital against an answer with `count` votes so far."""
        if not won and not lost:
            return 1.0
        first = self._counts[leader]
        rest = self._drawn - first - count
        most = (self._samples - rest) // 2
        if most <= first:  # where the answer is not behind in the end, the leader cannot be drawn again
            return math.inf if won else 1.0
        odds = (most - first) / (most - count)
        stake = ((first + _PRIOR) - odds * (count + _PRIOR)) / (first + count + 2 * _PRIOR)
        return 1 + stake / odds if won else 1 - stake
