"""Names in annotations that older versions of Python lack, so that `typing.get_type_hints` can resolve them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer as Buffer
    from typing_extensions import Self as Self
    from typing_extensions import Unpack as Unpack
else:
    from typing import Any, Optional, Union

    try:
        from typing import Self, Unpack
    except ImportError:
        # Python 3.10: the closest equivalents.
        Self, Unpack = Any, Optional
    try:
        from collections.abc import Buffer
    except ImportError:
        # Before Python 3.12.
        Buffer = Union[bytearray, memoryview]
