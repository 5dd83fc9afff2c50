"""What the words of a configuration and a command line mean."""
