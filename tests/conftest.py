"""What holds for all tests."""

from hypothesis import settings

# A test may be slow on a busy machine without being wrong.
settings.register_profile("ravine", deadline=None)
settings.load_profile("ravine")
