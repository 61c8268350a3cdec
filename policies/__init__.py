"""Training of AgeMem policies."""
