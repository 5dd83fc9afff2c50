"""Models that were trained elsewhere: opened safely, tried, made to look alike."""
