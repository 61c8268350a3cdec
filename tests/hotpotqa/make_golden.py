"""Write golden/scores.json: what the official script says of perturbed predictions.

    python tests/hotpotqa/make_golden.py PATH/hotpot_evaluate_v1.py PATH/hotpot_sample.json

The script is the one of github.com/hotpotqa/hotpot. The golden file holds ids, seeds and scores;
no text of the questions.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from perturb import perturbed

GOLDEN = Path(__file__).resolve().parent / "golden" / "scores.json"
SEEDS = range(16)
MISSING = 16  # a further seed in the means: some answers or facts are not given at all
NAMES = (
    "em", "f1", "prec", "recall", "sp_em", "sp_f1", "sp_prec", "sp_recall",
    "joint_em", "joint_f1", "joint_prec", "joint_recall",
)  # fmt: skip


def main(script: str, sample: str) -> None:
    """Run the script on each question alone and on all of them together."""
    sys.modules.setdefault("ujson", json)  # the script asks for it, and does what json does
    spec = importlib.util.spec_from_file_location("official", script)
    assert spec is not None
    assert spec.loader is not None
    official = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(official)
    records = json.loads(Path(sample).read_text(encoding="utf-8"))
    each: dict[str, list[list[float]]] = {}
    for record in records:
        rows = [_run(official, [record], seed) for seed in SEEDS]
        each[record["_id"]] = [[float(row[name]) for name in NAMES] for row in rows]
    means = [_run(official, records, seed) for seed in (*SEEDS, MISSING)]
    golden = {
        "names": NAMES,
        "seeds": list(SEEDS),
        "each": each,
        "means": [[float(row[name]) for name in NAMES] for row in means],
    }
    text = json.dumps(golden, separators=(",", ":"))
    GOLDEN.write_text(text.replace('],"5', '],\n"5') + "\n", encoding="utf-8")


def given(record: dict[str, Any], position: int, seed: int) -> tuple[str | None, Any]:
    """A prediction; for the seed `MISSING`, without an answer or without facts now and then."""
    answer, facts = perturbed(record, seed)
    if seed != MISSING:
        return answer, facts
    return (None if position % 5 == 0 else answer), (None if position % 3 == 0 else facts)


def _run(official: Any, records: list[dict[str, Any]], seed: int) -> dict[str, float]:
    predictions = {r["_id"]: given(r, i, seed) for i, r in enumerate(records)}
    prediction = {
        "answer": {key: a for key, (a, _) in predictions.items() if a is not None},
        "sp": {key: f for key, (_, f) in predictions.items() if f is not None},
    }
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "prediction.json", Path(folder) / "gold.json"]
        for file, content in zip(files, (prediction, records), strict=True):
            file.write_text(json.dumps(content), encoding="utf-8")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            official.eval(*map(str, files))
    last = printed.getvalue().splitlines()[-1]
    result: dict[str, float] = json.loads(last.replace("'", '"').replace("True", "1"))
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
