"""Attacks at work: raw scores, and the rows that are made of them."""
