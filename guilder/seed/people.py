"""Who lives in the demo bank, and what they do with their money each month. Data only."""

from dataclasses import dataclass
from typing import Final

PASSWORD: Final = "guilder-demo-2026"  # noqa: S105 - printed at every start of the demo


@dataclass(frozen=True, slots=True)
class Person:
    """A demo customer; ``salary`` and ``rent`` are monthly, in minor units of ``currency``."""

    key: str
    name: str
    employer: str
    salary: int
    rent: int
    currency: str = "EUR"

    @property
    def email(self) -> str:
        """The login."""
        return f"{self.key}@demo.guilder.dev"

    def local(self, cents: int) -> int:
        """About what so many euro cents are worth in the person's own minor units."""
        return cents * 16 // 10 if self.currency == "JPY" else cents


PEOPLE: Final = (
    Person("mila", "Mila Janssen", "Brightline Software", 412_500, 135_000),
    Person("jonas", "Jonas Weber", "Nordsee Logistik", 298_000, 98_000),
    Person("sofia", "Sofia Rossi", "Teatro alla Porta", 264_000, 89_500),
    Person("liam", "Liam O'Connor", "Harbour Clinic", 371_200, 142_000),
    Person("aisha", "Aisha Khan", "Khan & Daughters", 455_000, 120_000),
    Person("kenji", "Kenji Sato", "Ame Design", 480_000, 125_000, "JPY"),
)

SHOPS: Final = (
    ("Green Grocer", 1_800, 9_400),
    ("Corner Bakery", 320, 1_450),
    ("City Transit", 290, 2_700),
    ("Kino Central", 950, 3_800),
    ("Pharmacy Plus", 600, 4_200),
    ("Book Nook", 1_200, 5_900),
    ("Fuel & Go", 3_500, 8_800),
    ("Thread & Needle", 2_500, 14_900),
)
"""Name, and the least and most that one visit costs in euro cents."""

BILLS: Final = (
    (3, "City Energy", 8_450),
    (5, "FibreNet", 3_995),
    (12, "Phone & Data", 1_999),
    (18, "Streambox", 1_299),
)
"""Day of the month, name, and amount in euro cents."""

FAVOURS: Final = (
    "Dinner on Friday", "Concert tickets", "Groceries, my half", "Birthday present",
    "Train to the coast", "Thanks for the ladder", "Lunch",
)  # fmt: skip
