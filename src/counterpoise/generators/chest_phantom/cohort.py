"""Who is in the phantom's cohort: patients, their visits, and what is found at each.

A visit's findings come from a Gaussian copula. Each finding has a latent, a sum of a few common
causes and of one of its own, and is present where the latent exceeds the quantile of its
prevalence: prevalences are exact by construction, findings that share a cause come together, and
as part of every cause belongs to the patient, findings persist between visits. The projection
(AP in the bedridden) is one more such latent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

from counterpoise.lazy import np

PREVALENCE = {
    "Atelectasis": 0.1031,
    "Cardiomegaly": 0.0248,
    "Effusion": 0.1188,
    "Infiltration": 0.1774,
    "Mass": 0.0516,
    "Nodule": 0.0565,
    "Pneumonia": 0.0128,
    "Pneumothorax": 0.0473,
    "Consolidation": 0.0416,
    "Edema": 0.0205,
    "Emphysema": 0.0224,
    "Fibrosis": 0.0150,
    "Pleural_Thickening": 0.0302,
    "Hernia": 0.0020,
}
"""Share of the 112,120 images of ChestX-ray14 with each finding, in the order of NIH."""

FINDINGS = tuple(PREVALENCE)
FLOOR = 0.05
AP_SHARE = 0.40
COHORT, READER, PATIENT, VISIT, FINDING, GRAIN = range(1, 7)  # streams of random numbers

_CAUSES = ("heart failure", "infection", "collapse", "scarring", "air leak", "bed")
_LOADINGS = {
    "Atelectasis": (0.0, 0.0, 0.60, 0.0, 0.10, 0.25),
    "Cardiomegaly": (0.65, 0.0, 0.0, 0.0, -0.20, 0.0),
    "Effusion": (0.55, 0.0, 0.55, 0.10, 0.15, 0.25),
    "Infiltration": (0.0, 0.50, 0.05, 0.0, -0.05, 0.30),
    "Mass": (-0.15, 0.0, 0.25, 0.55, 0.10, -0.05),
    "Nodule": (-0.10, 0.0, 0.05, 0.50, 0.0, -0.15),
    "Pneumonia": (0.10, 0.75, 0.10, 0.0, -0.10, 0.20),
    "Pneumothorax": (-0.15, -0.20, 0.10, 0.15, 0.65, -0.10),
    "Consolidation": (0.0, 0.20, 0.50, 0.15, -0.05, 0.35),
    "Edema": (0.35, 0.60, 0.0, -0.10, -0.20, 0.50),
    "Emphysema": (-0.10, -0.15, 0.05, 0.10, 0.65, -0.05),
    "Fibrosis": (0.0, 0.10, 0.0, 0.45, 0.0, -0.30),
    "Pleural_Thickening": (0.0, 0.0, 0.20, 0.55, 0.15, -0.20),
    "Hernia": (0.0, 0.0, 0.10, 0.20, 0.0, -0.20),
    "AP": (0.10, 0.05, 0.0, 0.0, 0.0, 0.75),
}
"""How much of each latent's standard deviation comes from each cause, chosen so that the joint
frequencies resemble those of ChestX-ray14."""

_PATIENT_SHARE = 0.6  # of a latent's variance: about a third to a half of findings are seen again
_MOST_VISITS = {"raised": 6, "published": 184}


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture to be taken: image ``index`` of a cohort and what is to be seen in it.

    With other findings, or in another domain, it is the same person at the same visit.
    """

    seed: int
    index: int
    patient: int
    visit: int
    age: int
    sex: str
    view: str
    findings: tuple[str, ...]
    domain: str = "first"

    @property
    def name(self) -> str:
        """Name of the file, as in the NIH release."""
        return f"{self.patient + 1:08d}_{self.visit:03d}.png"

    @property
    def for_test(self) -> bool:
        """Whether the patient is one of the quarter that is kept for testing."""
        return self.patient % 4 == 3


def prevalences(kind: str) -> dict[str, float]:
    """Share of images with each finding; ``raised`` lifts all to 5 % or more, in their order."""
    if kind == "published":
        return PREVALENCE
    return {name: FLOOR + 0.75 * share for name, share in PREVALENCE.items()}


def scenes(count: int, seed: int, domain: str = "first", kind: str = "raised") -> Iterator[Scene]:
    """The first ``count`` images of a cohort, patient by patient.

    Image n is the same however many are asked for. Domains draw other findings; patient n
    has the same body in both.
    """
    quantile = NormalDist().inv_cdf
    shares = [*prevalences(kind).values(), AP_SHARE]
    limits = np.array([quantile(1 - share) for share in shares])
    loadings = np.array([*_LOADINGS.values()])
    own = np.sqrt(1 - np.square(loadings).sum(axis=1))
    index, patient = 0, 0
    while index < count:
        rng = np.random.default_rng((seed, COHORT, patient, domain == "second"))
        sex = "M" if rng.random() < 0.565 else "F"
        age = float(np.clip(47 + 16.6 * rng.standard_normal(), 3, 95))
        visits = _visits(rng.random(), _MOST_VISITS[kind])
        # The first row stays with the patient, the others are what each visit adds.
        draws = rng.standard_normal((1 + visits, len(_CAUSES) + len(limits)))
        mixed = np.sqrt(_PATIENT_SHARE) * draws[:1] + np.sqrt(1 - _PATIENT_SHARE) * draws[1:]
        latents = mixed[:, : len(_CAUSES)] @ loadings.T + mixed[:, len(_CAUSES) :] * own
        for visit, present in enumerate((latents > limits)[: count - index]):
            found = tuple(name for name, there in zip(FINDINGS, present, strict=False) if there)
            view = "AP" if present[-1] else "PA"
            years = int(age + 0.2 * visit)
            yield Scene(seed, index, patient, visit, years, sex, view, found, domain)
            index += 1
        patient += 1


def _visits(quantile: float, most: int) -> int:
    """Images of a patient: more than half have one, the mean is 3.6, the tail is long."""
    return min(int(0.3 + 0.83 * (1 - quantile) ** -0.86), most) or 1


def reported(scene: Scene, noise: float) -> tuple[str, ...]:
    """The findings that a reader reports: each of the fourteen labels errs with share ``noise``."""
    wrong = np.random.default_rng((scene.seed, READER, scene.index)).random(len(FINDINGS)) < noise
    return tuple(
        name
        for name, flipped in zip(FINDINGS, wrong, strict=True)
        if (name in scene.findings) != flipped
    )
