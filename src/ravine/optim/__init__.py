"""The room optim."""
