"""The cluster tests drive studies with the study tests' stand-ins."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "study"))
