"""Figures of runs, as SVG and PNG."""
