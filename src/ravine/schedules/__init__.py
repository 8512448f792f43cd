"""The room schedules."""
