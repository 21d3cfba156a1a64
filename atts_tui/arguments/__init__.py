"""The options of every command, as `argparse` reads them. Imports nothing else of ours: `--help` is quick."""
