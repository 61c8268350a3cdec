"""Reference data and committed results."""
