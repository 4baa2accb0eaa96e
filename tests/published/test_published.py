"""identify on published implementations: right, or "cannot be observed", on every field of every one.

The streams and the seeds are fixed, so nothing is left to chance. By hand, with ten seeds:
`python -m tests.published.test_published 10`.
"""

from __future__ import annotations

import sys

import pytest

from dropblock_ref.testing import Identification, identify

from .implementations import NONE, PUBLISHED, Published, truth_of


def false_statements(one: Published, found: Identification) -> list[str]:
    """What is said of it that is not so, and what is not said that must be."""
    wrong = []
    for answer in found.answers:
        true = truth_of(one, answer.field)
        if answer.observed and true is NONE and answer.values:
            wrong.append(f"{answer.field} {answer.text}")
        if true is not NONE and true not in answer.values:
            wrong.append(f"{answer.field} {answer.text}, but it is {true!r}")
    if found.gamma is not None and (one.gamma is None or not found.gamma[1] <= one.gamma <= found.gamma[2]):
        wrong.append(f"gamma {found.gamma}, but it is {one.gamma}")
    if one.row and (found.nearest, found.contradictions[one.row]) != ((one.row,), ()):
        wrong.append(f"nearest is {found.nearest}, but it is {one.row}")
    wrong += [f"nothing of {text!r}" for text in one.named if not any(text in note for note in found.unexplained)]
    return wrong + (list(found.unexplained) if one.sound else [])


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: one.name)
def test_identify_says_nothing_false_of_a_published_implementation(one: Published) -> None:
    assert false_statements(one, identify(one.make())) == [], one.truth


def test_there_are_twenty_and_more() -> None:
    assert len({one.name for one in PUBLISHED}) >= 20


if __name__ == "__main__":
    for seed in range(int(sys.argv[1])):
        for one in PUBLISHED:
            for text in false_statements(one, identify(one.make(), seed=seed)):
                print(f"seed {seed}, {one.name}: {text}", flush=True)  # noqa: T201
        print(f"seed {seed}: {len(PUBLISHED)} implementations", flush=True)  # noqa: T201
