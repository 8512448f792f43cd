"""The room reports."""
