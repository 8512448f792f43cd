"""Second derivatives of any network: attention by a path that has them, and one line where none do.

Fused attention is differentiable once. Inside `differentiable_twice` torch computes it by matrix
products and softmax, which are differentiable as often as wanted.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ravine.core.errors import SettingError

_LACKS = ("is not implemented", "does not support double backward", "not differentiable twice")


@contextmanager
def differentiable_twice() -> Iterator[None]:
    """Takes the forms of attention that have second derivatives.

    Raises:
        SettingError: an operation inside has none.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    except (RuntimeError, NotImplementedError) as error:
        text = str(error).partition("\n")[0]
        if any(words in text for words in _LACKS):
            raise SettingError(
                "the Hessian needs second derivatives, and an operation of this network has none "
                f"({text}); leave sharpness, convexity and along='hessian' out"
            ) from error
        raise
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
