"""Environments in workers: processes of this machine, or actors of a Ray cluster."""
