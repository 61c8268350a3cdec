"""Environments: one adapter a benchmark, behind the harness protocols."""
