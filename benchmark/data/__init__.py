"""Data sets: one file each, all of them a `Source` that prepares a `Dataset`."""
