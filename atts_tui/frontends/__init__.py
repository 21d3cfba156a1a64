"""Front ends without a screen: progress lines, JSON lines, results. All read RunState and nothing else."""
