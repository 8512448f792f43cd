"""Layer statistics of a network while any loop trains it; the training is the same."""
