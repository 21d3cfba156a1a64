"""The home screen: what `atts` shows without a command."""
