"""Runs on disk as columns of numbers: what tables, tests, figures and exports are made from."""

from .align import Alignment
from .frame import CellFrame, load_frames, load_run, merge_frames, run_directory
from .protocol import Protocol, protocol_differences

__all__ = [
    "Alignment",
    "CellFrame",
    "Protocol",
    "load_frames",
    "load_run",
    "merge_frames",
    "protocol_differences",
    "run_directory",
]
