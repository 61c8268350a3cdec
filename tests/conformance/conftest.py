"""The example plug-in can be imported, as if it was installed."""

from __future__ import annotations

import sys
from pathlib import Path

PLUGIN = Path(__file__).parents[1] / "support" / "example_plugin"
sys.path.insert(0, str(PLUGIN))
