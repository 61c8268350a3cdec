"""BabyAI: grid worlds of minigrid, told in words."""
