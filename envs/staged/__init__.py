"""Episodes in three stages: what is told first, small talk, and the task itself."""
