"""Steps that cannot be made, as a program may have them."""

from __future__ import annotations

from upcasting import Upcasting, renamed

from tests.upcasting.messages import Basket
from tests.upcasting.shop import OLD

STEPS = Upcasting(OLD, [renamed("order.basket", 1, Basket)])
