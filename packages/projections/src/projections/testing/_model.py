"""The contract of a model, as a suite of tests."""

from __future__ import annotations

from projections.testing._generations import Moves, Names
from projections.testing._races import Races
from projections.testing._records import Records, Together


class ModelContract(Records, Together, Races, Names, Moves):
    """Proves that a model keeps what the docstring of ``projections.Model`` promises.

    Subclass it under a name that pytest collects, and say how to make a model, and how to write to one::

        class MyProbe:
            def __init__(self, space: str) -> None:
                self.owns = [f"table_{space}"]

            def setup(self, tx: Transaction, name: Name) -> None:
                tx.execute(f"CREATE TABLE IF NOT EXISTS {name(self.owns[0])} (key TEXT PRIMARY KEY, value TEXT)")

            def write(self, tx: Transaction, name: Name, key: str, value: str) -> None:
                tx.execute(f"REPLACE INTO {name(self.owns[0])} VALUES (?, ?)", (key, value))

        class TestMyModel(ModelContract):
            waits = False
            model = staticmethod(lambda folder: MyModel(folder / "views"))
            probe = staticmethod(MyProbe)

    What ``model`` returns is entered with ``async with``. A second one for the same folder is another handle on the
    same target. A model of a server may ignore the folder: each case has keys and names of its own, and removes them.

    No case is ever skipped. Where models may differ, set the attribute that says so: ``waits``; and ``rounds`` and
    ``patience`` for how the cases run. A new release may add cases.
    """
