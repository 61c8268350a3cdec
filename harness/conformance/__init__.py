"""What every environment and every memory must hold to, as suites that anybody can run."""
