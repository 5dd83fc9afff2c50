"""The benchmark: one job turns a configuration into rows of a table that can be trusted."""

import os

# Before torch loads OpenMP: its idle threads shall sleep. Those that spin starve whatever else runs
# on the machine, themselves first (bench/busy.py). What a user has set stays.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
