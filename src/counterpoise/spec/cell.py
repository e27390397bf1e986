"""What one training is: the resolved specification that its digest covers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from counterpoise.spec.augment import Augment
from counterpoise.spec.base import Model, Name

Precision = Literal["float32", "tf32", "bfloat16"]
Selection = Literal["best_validation", "last"]
Optimizer = Literal["adam", "sgd", "rmsprop"]


class Schedule(Model):
    """Learning rate of the network over epochs."""

    kind: Literal["constant", "step", "exponential", "cosine"] = "constant"
    every: Annotated[int, Field(ge=1)] = 1
    """Epochs between two steps of a step schedule."""
    factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of a step, or of an epoch of an exponential schedule."""


class Bce(Model):
    """Binary cross-entropy."""

    kind: Literal["bce"] = "bce"


class Focal(Model):
    """Focal loss (Lin et al. 2017): well-classified items count less."""

    kind: Literal["focal"]
    gamma: Annotated[float, Field(ge=0, le=20)] = 2.0
    """Focusing; zero gives (weighted) cross-entropy. 2 in Lin et al."""
    alpha: Annotated[float, Field(ge=0, le=1)] | None = 0.25
    """Weight of positives, and one minus it of negatives; null for none. 0.25 in Lin et al."""


class Asymmetric(Model):
    """Asymmetric loss (Ridnik et al. 2021): negatives are focused more, and easy ones dropped."""

    kind: Literal["asymmetric"]
    gamma_positive: Annotated[float, Field(ge=0, le=20)] = 0.0
    gamma_negative: Annotated[float, Field(ge=0, le=20)] = 4.0
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Probability up to which a negative costs nothing. Defaults as in Ridnik et al., sec. 4.1."""


class ClassWeighted(Model):
    """Binary cross-entropy with weights from the frequency of the classes of each task."""

    kind: Literal["class_weighted"]
    form: Literal["both", "positive"] = "both"
    """N / n_c for both classes, or n_0 / n_1 for positives and one for negatives."""
    mean: Literal["weights", "items"] = "weights"
    """A batch's sum is divided by the sum of its weights, as torch's weighted cross-entropy does,
    or by the number of its items."""


class ClassBalanced(Model):
    """Binary cross-entropy with weights by the effective number of items (Cui et al. 2019)."""

    kind: Literal["class_balanced"]
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.9999
    """0.9999 is the middle of the values that Cui et al. try."""


class SigmoidTwice(Model):
    """Binary cross-entropy of the sigmoid of a probability: a fault whose traces are looked for."""

    kind: Literal["sigmoid_twice"]


BinaryLoss = Annotated[
    Bce | Focal | Asymmetric | ClassWeighted | ClassBalanced | SigmoidTwice,
    Field(discriminator="kind"),
]


class Random(Model):
    """Weights drawn from the seed."""

    kind: Literal["random"] = "random"


class ImageNet(Model):
    """A trunk with weights from ImageNet, as published (config/weights.yaml); heads are drawn."""

    kind: Literal["imagenet"]


class Pretrained(Model):
    """A trunk from a cell of its own, trained before on other data; heads are drawn.

    That cell has the network, seeds and protocol of this one, but for its loss, from random weights
    and with nothing frozen, all tasks under equal weights. Seed s goes on from seed s.
    """

    kind: Literal["pretrained"]
    dataset: Name | None = None
    """What it is trained on first; the experiment's dataset if absent."""
    source: Name | None = None
    """Source of that dataset; the tier's if absent."""
    dataset_options: dict[str, Any] = {}
    """What differs from the options of the experiment's data, or of another dataset in the tier."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs there; the experiment's if absent."""
    loss: BinaryLoss = Bce()
    """Of binary tasks there, whatever the loss here: published weights, in whose place these are,
    know nothing of it. Runs that differ in their loss so start from the same weights."""


Initial = Annotated[Random | ImageNet | Pretrained, Field(discriminator="kind")]


class Protocol(Model):
    """How a network is trained, whatever the method."""

    epochs: Annotated[int, Field(ge=0, le=100_000)]
    """Zero: the network is scored as it starts."""
    batch_size: Annotated[int, Field(ge=1)]
    optimizer: Optimizer = "adam"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    schedule: Schedule = Schedule()
    loss_normalisation: Literal["first_batch", "none"] = "none"
    """Divide each task's loss by its value on the first mini-batch, before any update."""
    loss: BinaryLoss = Bce()
    """Of tasks with one logit and two classes; the loss of other tasks stays as it is."""
    selection: Selection = "best_validation"
    """Which epoch's weights are kept: the lowest mean (normalised) validation loss, or the last."""
    precision: Precision = "float32"
    """Products in float32 on a GPU's tensor cores, in trunk, heads and methods alike (tf32), or all
    layers of the trunk in half precision (bfloat16)."""
    augment: Augment | None = None
    """Random changes of training images; none: they are as prepared."""
    micro_batch: Annotated[int, Field(ge=1)] | None = None
    """Items that pass the trunk at once, for want of memory (one more where a single one would be
    left over); none: the batch. Every method's update is that of the whole batch, at one more
    forward pass of the trunk; only normalisation over a batch sees these items alone."""
    rows_at_once: Annotated[int, Field(ge=1)] = 1
    """Rows of the tasks' Jacobian at the shared parameters that one backward pass of the trunk
    gives, to methods that look at it: more of them are fewer launches on a GPU, and hold as many
    times the gradients of the trunk's layers. On a CPU more than one gains nothing."""
    initial: Initial = Random()
    """Where the weights of the trunk come from."""
    frozen: tuple[Name, ...] = ()
    """Stages of the trunk that are not trained; their normalisation is as in evaluation."""
    trace_outputs: bool = False
    """Keep the mean network output on the validation part at every epoch (toy problems)."""


class Variation(Model):
    """What one run changes of its experiment's protocol."""

    epochs: Annotated[int, Field(ge=0)] | None = None
    """Zero: the network is scored as it starts. A tier may train for fewer, never for more."""
    loss: BinaryLoss | None = None
    optimizer: Optimizer | None = None
    initial: Initial | None = None
    frozen: tuple[Name, ...] | None = None

    def of(self, protocol: Protocol) -> Protocol:
        """The protocol with these changes."""
        given = {
            key: value for key in self.model_fields_set if (value := getattr(self, key)) is not None
        }
        return protocol.model_copy(update=given)


class Component(Model):
    """A network or method with its options, resolved to their full set."""

    name: Name
    options: dict[str, Any] = {}


class Candidate(Model):
    """A point of a grid: a cell that was trained to try it."""

    key: str
    """``name/digest`` of that cell."""
    options: dict[str, Any]
    """The method's full options there."""


class Cell(Model):
    """One distinct training of all its seeds. Tables and papers that need it share it.

    The single-task reference of K tasks is K cells of one task each.
    """

    dataset: Name
    source: Name
    """Which files the data come from: the published ones or a stand-in."""
    dataset_options: dict[str, Any]
    network: Component
    method: Component
    weighting: Component | None = None
    """A method whose weights the losses have before the method above sees them."""
    tasks: tuple[Name, ...]
    protocol: Protocol
    seeds: tuple[int, ...]
    candidates: tuple[Candidate, ...] = ()
    """Of a grid search: the training job takes the method's options from the best of them."""
    single_task: dict[Name, str] = {}
    """``name/digest`` of a network of its own by task, where the method's options wait for them."""
    pretraining: str | None = None
    """``name/digest`` of the cell whose trunk this one starts from."""

    @property
    def seeding(self) -> str:
        """What random draws depend on besides the seed: never the method or the protocol."""
        return f"{self.dataset}/{self.network.name}"

    def is_sibling_of(self, other: Cell) -> bool:
        """Whether another cell's training is this one's but for numbers or for a single task.

        The numbers are real options of the method, such as a grid's, and the learning rate; whole
        numbers count something and, like words, may ask for other computations.
        """
        return self != other and self._form() == other._form()

    def _form(self) -> dict[str, Any]:
        """What siblings have in common."""
        form = self.model_dump(mode="json", exclude={"protocol": {"learning_rate"}})
        form["method"]["options"] = _without_reals(self.method.options)
        if len(self.tasks) == 1:
            del form["tasks"]
        return form


def _without_reals(value: Any) -> Any:
    """Options with nothing in the places of their real numbers."""
    if isinstance(value, dict):
        return {key: _without_reals(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_reals(part) for part in value]
    return "a real number" if isinstance(value, float) else value
