"""Loop, step, checkpoint, evaluate: the loop is in the open, observers look and never touch."""
