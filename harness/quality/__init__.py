"""How good a memory is: what it holds of what it should, what it makes up, what it repeats."""
