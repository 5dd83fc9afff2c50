"""Victims: generative models trained on member records, and the views an attacker gets of them."""
