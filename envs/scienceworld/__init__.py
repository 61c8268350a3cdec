"""ScienceWorld: science tasks in a simulated house."""
