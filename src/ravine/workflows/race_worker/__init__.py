"""The processes and Ray jobs that train the trials of a race, and their messages."""
