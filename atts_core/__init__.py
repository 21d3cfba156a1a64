"""The engine of Asynchronous Test-Time Scaling (arXiv 2509.15148). Imports neither Textual nor Rich."""

__version__ = "0.1.0"
