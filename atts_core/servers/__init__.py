"""Lasting servers of this machine: what `atts servers` starts, finds again and stops."""
