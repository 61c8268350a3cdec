"""agemem-nano: what was played, what was claimed of it beforehand, and what came of it."""
