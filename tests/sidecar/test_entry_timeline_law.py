"""The law of cached timelines: an answer is the newest snapshot plus every newer write, or "load"."""

from __future__ import annotations

import random

from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.sidecar.timeline_history import KEYS, SECOND_US, Handed, History, expected, key_of

from pannier.keys import HIGHEST_SORT_KEY, LOWEST_SORT_KEY
from pannier_sidecar.entry.timeline import Answer, Timeline, answer, merge, trim


def merged_somehow(handed: list[Handed], capacity: int, dice: random.Random) -> Timeline:
    """Merge the entries in a random order and grouping, some of them repeatedly."""
    entries = [one.entry for one in handed]
    while len(entries) > 1:
        dice.shuffle(entries)
        a, b = entries.pop(), entries.pop()
        entries.append(merge(a, b, capacity))
        if dice.random() < 0.2:
            entries.append(dice.choice(handed).entry)
    return trim(entries[0], capacity)


def play(seed: int, capacity: int, steps: int, ask: random.Random) -> tuple[Answer | None, Answer | None]:
    """Play a history, merge a subset of what it handed out, and ask: (the answer, the only right one)."""
    dice = random.Random(seed)
    history = History(capacity)
    for _ in range(steps):
        history.step(dice)
    subset = [one for one in history.handed if dice.random() < 0.9]
    if not subset:
        return None, None
    limit = ask.randrange(1, 4)
    low = ask.choice((LOWEST_SORT_KEY, key_of(ask.randrange(KEYS))))
    high = ask.choice((HIGHEST_SORT_KEY, key_of(ask.randrange(KEYS))))
    now_us = history.now_us + ask.choice((0, 40 * SECOND_US, 400 * SECOND_US))
    entry = merged_somehow(subset, capacity, dice)
    got = answer(entry, limit=limit, low=low, high=high, now_us=now_us)
    return got, expected(subset, limit=limit, low=low, high=high, now_us=now_us)


@settings(deadline=None, max_examples=400)
@given(st.integers(0, 2**32), st.sampled_from((3, 4, 6, 20)), st.integers(1, 24), st.integers(0, 2**32))
def test_an_answer_is_the_newest_snapshot_plus_every_newer_write_or_load(
    seed: int, capacity: int, steps: int, ask: int
) -> None:
    """Any order, grouping and repetition of merges answers exactly that, or says load."""
    got, right = play(seed, capacity, steps, random.Random(ask))
    event("load" if got is None else "answered")
    assert got is None or got == right


def test_most_histories_with_room_are_answered_without_a_load() -> None:
    """Load is no way out: where nothing had to make room, most questions after a full look are answered."""
    answered = possible = wrong = 0
    for seed in range(3000):
        got, right = play(seed, 20, 16, random.Random(seed))
        possible += right is not None
        answered += got is not None
        wrong += got is not None and got != right
    assert wrong == 0
    assert answered > 0.6 * possible
