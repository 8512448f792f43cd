"""What is wrong with a training before it begins: one file per subject, one table of checks."""
