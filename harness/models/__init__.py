"""Model providers: OpenAI-compatible endpoints, and models without weights."""
