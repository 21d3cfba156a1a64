"""What each command of `atts` does; imported only when that command runs."""
