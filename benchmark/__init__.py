"""The benchmark: one job turns a configuration into rows of a table that can be trusted."""
