"""The synthetic run is a module beside the tests: it is a program of its own as well."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
