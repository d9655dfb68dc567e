"""`predmp demo`: a synthetic French day played on a running hub, over its real sockets."""
