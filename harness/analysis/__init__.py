"""Runs on disk as columns of numbers: what tables, tests, figures and exports are made from."""

from ..store.header import run_directory
from .align import Alignment
from .frame import MIN_COVERAGE, CellFrame, load_frames, load_run, merge_frames
from .protocol import Protocol, protocol_differences

__all__ = [
    "MIN_COVERAGE",
    "Alignment",
    "CellFrame",
    "Protocol",
    "load_frames",
    "load_run",
    "merge_frames",
    "protocol_differences",
    "run_directory",
]
