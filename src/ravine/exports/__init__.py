"""A network leaves as a file, with the proof that the file answers as the network does."""
