"""Trained weights: where they come from, what they are, and how they fit another network."""
