"""A run's numbers in other tools' formats."""
