"""Build-time scripts."""
