"""The cases of bench/fuzz.py, by groups."""
