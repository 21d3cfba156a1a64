"""The options of every command, as `argparse` reads them. Imports nothing slow: `--help` is quick."""
