"""Searching: clauses as filters, links in steps of ids, pages by keyset."""
