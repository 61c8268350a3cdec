"""Two runs, or a run and a pinned baseline, episode by episode."""
