"""Rules as data: each file holds one published rule with its numbers, their source and a version."""
