"""What holds for all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

# A test may be slow on a busy machine without being wrong.
settings.register_profile("ravine", deadline=None)
settings.load_profile("ravine")


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps decoded images apart from other modules', and gives processes one thread each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAVINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
