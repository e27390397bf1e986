"""The report by question: which claims hold, and what the runs say beyond the papers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.report.figures import FigureView, with_drawing
from counterpoise.report.inputs import PaperFiles
from counterpoise.report.numbers import count, plural
from counterpoise.report.text import anchor
from counterpoise.spec.paper import Paper


@dataclass(frozen=True)
class Question:
    """A question that views answer; ``key`` is their kind."""

    key: str
    title: str
    text: str

    @property
    def id(self) -> str:
        """Its address on the page."""
        return anchor("question", self.key)


QUESTIONS = {
    question.key: question
    for question in (
        Question(
            "equal",
            "Which method beats equal weights?",
            "Each method compared with the plain sum of losses, on the same seeds and test items.",
        ),
        Question(
            "tradeoff",
            "What does quality cost?",
            "A method that looks at every task's gradient pays for it at every step.",
        ),
        Question(
            "gains",
            "Who pays for whom?",
            "A better mean may hide a task that has been sacrificed.",
        ),
        Question(
            "weights",
            "Where do the weights go?",
            "How each balancing method's task weights develop during training.",
        ),
        Question(
            "conflict",
            "Do the gradients conflict?",
            "Whether the update that the shared layers receive helps every task.",
        ),
        Question(
            "imbalance",
            "Do equal gradient norms give balanced outcomes?",
            "Methods that equalise gradient norms promise balanced outcomes.",
        ),
    )
}


@dataclass(frozen=True)
class View:
    """One view of an experiment, under its question.

    Attributes:
        of: what was run.
        instead: the experiment of the paper that it stands in for; empty where it is that one.
        words: what has become of each comparison with equal weights; empty in other views.
    """

    question: Question
    of: str
    instead: str
    words: tuple[str, ...]
    figure: FigureView


def told_apart(views: Sequence[View]) -> str:
    """Whether any method is told apart from equal weights; empty where none is compared."""
    words = Counter(word for view in views for word in view.words)
    if not words:
        return ""
    found = [f"{count(words[word])} {word}" for word in ("better", "worse") if words[word]]
    of = f"{plural(words.total(), 'comparison')} in {plural(len(views), 'experiment')}"
    return f"Told apart from equal weights, of {of}: {', '.join(found) or 'none'}."


def paper_questions(paper: Paper, files: PaperFiles) -> tuple[View, ...]:
    """The views of a paper's experiments, in the order of the questions."""
    found = [view for view in files.views if view.kind in QUESTIONS]
    found.sort(key=lambda view: (list(QUESTIONS).index(view.kind), view.experiment))
    return tuple(
        View(
            QUESTIONS[view.kind],
            view.ran or view.of,
            view.of if view.ran else "",
            tuple(str(row["word"]) for row in view.drawn.data if "word" in row),
            with_drawing(
                FigureView(
                    id=anchor("view", paper.id, view.experiment, view.kind),
                    name=f"{view.experiment}-{view.kind}",
                    place="ours",
                    title=f"{view.title}. {view.ran or view.of}",
                    told=view.note,
                ),
                view.drawn,
                view.drawn.marks,
            ),
        )
        for view in found
    )
