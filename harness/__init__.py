"""The harness: protocols, the agent loop, runner, run store, metrics, reports, command line."""
