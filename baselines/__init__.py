"""Memory backends, the memory store and the embedders."""
