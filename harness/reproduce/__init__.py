"""The paper's tables and figures played anew: what each needs, and what came of it beside it."""
