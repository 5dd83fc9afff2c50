"""One job: a configuration becomes a result."""
