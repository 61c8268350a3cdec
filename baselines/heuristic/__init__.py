"""A memory model of fixed rules, so that every backend runs without an endpoint.

`--memory-model heuristic` reads the machine-readable form of a memory's requests (`Request.work`)
and answers in the JSON that any model must answer with: facts of messages, what becomes of them
among the memories, entities and relations, notes, typed memories, summaries.

Its limits, which a result with it inherits:
- The rules are fitted to the wording of this harness's environments: paragraphs under titles and
  their corrections (HotpotQA, three-stage), and the observations of ALFWorld, BabyAI, PDDL and
  ScienceWorld. Of free English they find names, numbers and some hundred cue words, and miss
  whatever is said otherwise. They know English only.
- Nothing is inferred: no two facts are put together, nothing is told in other words.
- So a score says that a backend's machinery works, and lets two backends be compared under the
  same rules. It measures neither a memory nor a model as one would use them.
"""

from .model import RULES_VERSION, HeuristicModel

__all__ = ["RULES_VERSION", "HeuristicModel"]
