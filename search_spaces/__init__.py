"""What may vary: parameters, spaces and the families' cards, read from TOML. Free of torch."""

from .card import CardError, FamilyCard, Fit, load_card, shipped_cards
from .sizes import DataSize
from .space import Parameter, SearchSpace, Setting

__all__ = [
    "CardError",
    "DataSize",
    "FamilyCard",
    "Fit",
    "Parameter",
    "SearchSpace",
    "Setting",
    "load_card",
    "shipped_cards",
]
