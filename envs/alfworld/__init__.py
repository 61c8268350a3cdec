"""ALFWorld: a native engine of its text games, the adapter, a generator and two experts."""
