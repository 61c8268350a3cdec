"""What `theta_f` means for an embedder: the similarity that tells matching messages from others.

The paper's 0.6 is for dense embedders; on n-gram vectors the same texts lie much further apart. So
a threshold is chosen on a small labelled set of our own: messages as household text games and
their distractors have them, and criteria as an agent writes them for Filter_context. A message is
labelled with its topics; a criterion matches the messages of its topic.

The rule: the lowest threshold that takes no message of another topic. That is MiniLM's rate at the
paper's 0.6 (false positives 0 of 597, recall 0.22 of 51), and the careful side of the trade: a
message left in costs tokens, a message lost is lost. The set is small and the hashing weights were
chosen on it too, so the rates describe it and promise nothing about other text.

    python -m agemem_eval.baselines.calibrate hashing
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..harness.metering import Embedder
from ..harness.plan import make_embedder

MESSAGES: tuple[tuple[str, str], ...] = (  # text, topics
    ("Nothing happens.", "nothing"),
    ("Nothing happens. You are still at the shelf 2.", "nothing shelf"),
    ("That does nothing here; nothing happens.", "nothing"),
    ("You arrive at cabinet 1. The cabinet 1 is closed.", "cabinet"),
    ("You arrive at cabinet 4. On the cabinet 4, you see a soapbottle 1.", "cabinet"),
    ("You open the cabinet 2. The cabinet 2 is open. In it, you see nothing.", "cabinet"),
    ("You close the cabinet 2.", "cabinet"),
    ("The cabinet 3 holds a plate 1 and a bowl 2.", "cabinet"),
    ("You arrive at fridge 1. The fridge 1 is closed.", "fridge"),
    ("You open the fridge 1. In it, you see an egg 1, a lettuce 2, and a cup 1.", "fridge"),
    ("You cool the tomato 1 using the fridge 1.", "fridge tomato"),
    ("You arrive at drawer 5. The drawer 5 is closed.", "drawer"),
    ("You open the drawer 5. The drawer 5 is open. In it, you see a pen 3.", "drawer"),
    ("You open the drawer 6. In it, you see a cellphone 1 and a keychain 2.", "drawer"),
    ("You arrive at countertop 1. On it, you see a tomato 1, a knife 2, and a pan 1.", "tomato"),
    ("You pick up the tomato 1 from the countertop 1.", "tomato"),
    ("You heat the potato 2 using the microwave 1.", "microwave"),
    ("You arrive at microwave 1. The microwave 1 is closed.", "microwave"),
    ("The microwave 1 is open. In it, you see nothing.", "microwave"),
    ("You clean the mug 1 using the sinkbasin 1.", "sinkbasin"),
    ("You arrive at sinkbasin 1. On the sinkbasin 1, you see a spoon 1.", "sinkbasin"),
    ("You arrive at shelf 1. On the shelf 1, you see a vase 2.", "shelf"),
    ("On the shelf 3, you see a statue 1 and a watch 2.", "shelf"),
    ("You turn on the desklamp 1.", "desklamp"),
    ("You see the desklamp 1 on the desk 2.", "desklamp"),
    ("You arrive at bed 1. On the bed 1, you see a pillow 1 and a laptop 1.", ""),
    ("You put the book 2 in/on the sidetable 1.", ""),
    ("You are carrying: a creditcard 3.", ""),
    ("By the way, the weather has been lovely: sun all week, a little rain on Friday.", "weather"),
    ("The weather report says rain tomorrow and strong wind from the north.", "weather"),
    ("Did you watch the football match last night? Two goals in the last minute!", "football"),
    ("Our football team lost again; the coach may have to go.", "football"),
    ("I have been thinking of a holiday in Portugal, somewhere near the beach.", "holiday"),
    ("A holiday by train is slower, but you see much more of the country.", "holiday"),
    ("My neighbour plays jazz on the piano every evening.", "music"),
    ("What music do you listen to when you work? I like quiet piano music.", "music"),
)
CRITERIA: tuple[tuple[str, str], ...] = (  # text, topic
    ("nothing happens messages", "nothing"),
    ("nothing happens", "nothing"),
    ("observations about cabinets", "cabinet"),
    ("cabinet contents", "cabinet"),
    ("messages about the fridge", "fridge"),
    ("the fridge 1", "fridge"),
    ("drawers I have already opened", "drawer"),
    ("drawer 5 and drawer 6", "drawer"),
    ("everything about the tomato", "tomato"),
    ("microwave observations", "microwave"),
    ("the sinkbasin", "sinkbasin"),
    ("what is on the shelf", "shelf"),
    ("turning on the desklamp", "desklamp"),
    ("small talk about the weather", "weather"),
    ("weather and rain", "weather"),
    ("football match chat", "football"),
    ("holiday plans", "holiday"),
    ("talk about music", "music"),
)
GRID = np.round(np.arange(0.01, 1.0, 0.01), 2)


@dataclass(frozen=True, slots=True)
class Rates:
    """How a threshold does on the labelled pairs."""

    theta: float
    recall: float  # share of the matching pairs at or above it
    false_positives: float  # share of the other pairs at or above it


def pairs(embedder: Embedder) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Similarity and label of every pair, both of shape (criteria, messages)."""
    criteria = embedder.embed([text for text, _ in CRITERIA])
    messages = embedder.embed([text for text, _ in MESSAGES])
    labels = [[topic in topics.split() for _, topics in MESSAGES] for _, topic in CRITERIA]
    return criteria @ messages.T, np.array(labels)


def rates(embedder: Embedder) -> list[Rates]:
    """The rates at every threshold of the grid."""
    similarity, label = pairs(embedder)
    return [
        Rates(
            float(theta),
            float((similarity[label] >= theta).mean()),
            float((similarity[~label] >= theta).mean()),
        )
        for theta in GRID
    ]


def calibrated_theta(table: list[Rates]) -> float:
    """The lowest threshold without a false positive."""
    return min(row.theta for row in table if row.false_positives == 0)


def main(name: str) -> None:
    """Print the rates of an embedder and the calibrated threshold."""
    table = rates(make_embedder(name))
    print("theta  recall  false positives")
    for row in table[4::5]:
        print(f"{row.theta:5.2f}  {row.recall:6.3f}  {row.false_positives:15.4f}")
    print(f"calibrated theta_f of {name}: {calibrated_theta(table)}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "hashing")
