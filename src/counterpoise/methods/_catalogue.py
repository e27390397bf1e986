"""What is known about a method without training with it: what it sees, and what it promises."""

from __future__ import annotations

from counterpoise.methods._base import Method, Property, Shape, SignalKind

PROMISES: dict[Property, tuple[str, str]] = {
    "neutral_start": ("neutral start", "the first step is that of uniform weights"),
    "weighted_loss": (
        "weighted loss",
        "the shared gradient is that of the loss, weighted as the heads are",
    ),
    "weights_sum_to_tasks": ("sum K", "weights are positive and sum to K at every step"),
    "weights_sum_to_one": (
        "sum one",
        "the weights of the shared gradient sum to one at every step",
    ),
    "equal_tasks_equal_weights": (
        "equal tasks",
        "tasks that cannot be told apart get equal weights",
    ),
    "plain_with_one_task": ("one task", "with K = 1 it is plain training"),
    "blind_to_gradient_scale": (
        "any gradient scale",
        "a factor of one task's gradient, the loss being what it is, changes no direction",
    ),
    "blind_to_loss_scale": (
        "any loss scale",
        "a factor of one task's loss, and hence of its gradient, changes no direction",
    ),
    "never_conflicts": (
        "no conflict",
        "the shared gradient has no negative inner product with any task's",
    ),
    "never_lengthens": (
        "bounded",
        "the shared gradient is no longer than the tasks' gradients laid end to end",
    ),
}
"""The promises, in short and in full. Directions are those of the shared gradient."""

SHAPE = Shape(3, 4, (5,), ("one", "two", "three"))


def variations(kind: type[Method]) -> list[Method]:
    """One instance with the defaults, and one with each variant."""
    return [kind(kind.Options(**options), SHAPE) for options in kind.option_sets()]


def signals(kind: type[Method]) -> list[SignalKind]:
    """What it sees with its defaults, then what it sees with other options."""
    return list(dict.fromkeys(method.signal for method in variations(kind)))


def promises(kind: type[Method]) -> list[str]:
    """In short form, each with a note on whether it depends on the options."""
    made, found = variations(kind), []
    for promise, (short, _) in PROMISES.items():
        given = [promise in method.properties for method in made]
        if any(given):
            found.append(short if all(given) else f"{short} (some options)")
    return found
