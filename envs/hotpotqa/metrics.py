"""HotpotQA's official scores of one answer, by the definitions of `hotpot_evaluate_v1.py`.

The script (github.com/hotpotqa/hotpot) scores a file of predictions; here one prediction is
scored. `tests/hotpotqa/make_golden.py` holds the two against each other.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable

from ...harness.types import Scores

Fact = tuple[str, int]  # title of a paragraph, number of a sentence in it, from 0

METRICS = {
    "em": "exact match of the answer, normalised as HotpotQA does; 0 without an answer",
    "f1": "token F1 of the answer; 0 without an answer",
    "prec": "token precision of the answer",
    "recall": "token recall of the answer",
    "sp_em": "exactly the supporting facts cited; with none, not scored (0 with cite=required)",
    "sp_f1": "F1 of the cited facts",
    "sp_prec": "precision of the cited facts",
    "sp_recall": "recall of the cited facts",
    "joint_em": "em and sp_em both; no facts cited: not scored (0 with cite=required)",
    "joint_f1": "F1 of the products of precisions and recalls of answer and facts",
    "joint_prec": "prec times sp_prec",
    "joint_recall": "recall times sp_recall",
}
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CLOSED = ("yes", "no", "noanswer")  # answers that are right or wrong as a whole


def normalise(answer: str) -> str:
    """An answer without case, ASCII punctuation, articles and superfluous blanks."""
    text = answer.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", text).split())


def score_answer(answer: str, gold: str) -> dict[str, float]:
    """`em`, `f1`, `prec`, `recall` of an answer."""
    given, wanted = normalise(answer), normalise(gold)
    exact = float(given == wanted)
    prec = recall = f1 = 0.0
    if exact or (given not in _CLOSED and wanted not in _CLOSED):
        given_words, wanted_words = given.split(), wanted.split()
        common = sum((Counter(given_words) & Counter(wanted_words)).values())
        if common:
            prec, recall = common / len(given_words), common / len(wanted_words)
            f1 = _f1(prec, recall)
    return {"em": exact, "f1": f1, "prec": prec, "recall": recall}


def score_facts(facts: Iterable[Fact], gold: Iterable[Fact]) -> dict[str, float]:
    """`sp_em`, `sp_f1`, `sp_prec`, `sp_recall` of cited facts."""
    given, wanted = set(facts), set(gold)
    right = len(given & wanted)
    prec = right / len(given) if given else 0.0
    recall = right / len(wanted) if wanted else 0.0
    return {
        "sp_em": float(given == wanted),
        "sp_f1": _f1(prec, recall),
        "sp_prec": prec,
        "sp_recall": recall,
    }


def score(
    answer: str | None,
    facts: Iterable[Fact] | None,
    gold: str,
    gold_facts: Iterable[Fact],
    *,
    required: bool = False,
) -> Scores:
    """All scores of `METRICS`.

    Args:
        answer: what was answered; None for no answer, which scores 0.
        facts: what was cited; None where nothing was, and then the scores of facts are None.
        gold: the right answer.
        gold_facts: the supporting facts.
        required: score facts that were not cited as 0, as the script does in its means, over all
            questions of the file.
    """
    scores: Scores = dict.fromkeys(METRICS, 0.0)
    if answer is not None:
        scores |= score_answer(answer, gold)
    if answer is None or facts is None:
        missing = None if not required else 0.0
        return scores | {name: missing for name in METRICS if name.startswith(("sp_", "joint_"))}
    of_facts = score_facts(facts, gold_facts)
    joint = {
        f"joint_{name}": (scores[name] or 0.0) * of_facts[f"sp_{name}"]
        for name in ("em", "prec", "recall")
    }
    joint["joint_f1"] = _f1(joint["joint_prec"], joint["joint_recall"])
    return scores | of_facts | joint


def _f1(prec: float, recall: float) -> float:
    return 2 * prec * recall / (prec + recall) if prec + recall > 0 else 0.0
