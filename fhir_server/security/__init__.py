"""Who calls, what the token allows, what was done."""
