"""The live dashboard over stored results: `prepare` listens, and what it returns serves until it is interrupted."""

from flowsearch.analysis.dashboard.server import HOST, PORT, Served, prepare
from flowsearch.analysis.dashboard.standing import Spending, Used

__all__ = ["HOST", "PORT", "Served", "Spending", "Used", "prepare"]
