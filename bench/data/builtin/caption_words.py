"""What the texts of `captions` say: things, sizes, places, and sentences made of them. Free of torch and numpy."""

from __future__ import annotations

from collections.abc import Sequence

from ..words import condition_of, vocabulary_of

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
THINGS = (*DIGITS, "bar", "ellipse", "triangle")
SIZES = ("small", "large")
PLACES = ("top left", "top right", "bottom left", "bottom right")
FACTORS = {"thing": THINGS, "size": SIZES, "place": PLACES}
_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little"),
    "large": ("large", "big"),
    "top left": ("top left", "upper left"),
    "top right": ("top right", "upper right"),
    "bottom left": ("bottom left", "lower left"),
    "bottom right": ("bottom right", "lower right"),
}
_TEMPLATES = ("a {size} {thing}, {place}", "a {size} {thing} at the {place}", "{place}: the {thing} is {size}")
_MOST_TOKENS = 7


WORDINGS = (len(_TEMPLATES), 2, 2)  # from which a caption is chosen: sentences, words for its size and for its place


def caption(factors: Sequence[int], wording: Sequence[int]) -> str:
    """The sentence for a picture of thing, size and place, in one of the wordings that `WORDINGS` counts."""
    thing, size, place = factors
    template, of_size, of_place = wording
    names = {"size": _WORDS[SIZES[size]][of_size], "place": _WORDS[PLACES[place]][of_place]}
    return _TEMPLATES[template].format(thing=THINGS[thing], **names)


def words_for(name: str) -> tuple[str, ...]:
    """The wordings of a thing, a size or a place."""
    return _WORDS.get(name, (name,))


def _some_sentences() -> list[str]:
    """Every wording at least once."""
    sizes, places = ([word for name in names for word in _WORDS[name]] for names in (SIZES, PLACES))
    return [
        template.format(thing=thing, size=sizes[i % len(sizes)], place=places[i % len(places)])
        for i, thing in enumerate(THINGS)
        for template in _TEMPLATES
    ]


CONDITION = condition_of(vocabulary_of(_some_sentences(), most=100), _MOST_TOKENS)
