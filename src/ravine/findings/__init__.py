"""Findings: what is wrong, why, what to change; the detectors that derive them from rows."""
