"""What the paper's tables and figures need, and how they come out here."""
