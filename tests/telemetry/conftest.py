"""The fake NVML library is a module beside the tests: those of the screens use it as well."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
