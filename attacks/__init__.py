"""Membership inference attacks: each maps a view of a victim and queries to one score per query."""
