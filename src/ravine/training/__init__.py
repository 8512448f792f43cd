"""Loop, step, checkpoint, evaluate: the loop is in the open, observers read and change nothing."""
