"""The leaderboard: memories × environments, with what is significant marked."""
