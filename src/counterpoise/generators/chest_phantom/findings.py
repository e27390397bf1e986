"""How each of the fourteen findings looks.

A finding may first change the anatomy (``reshape``), then it paints on the layers of the chest.
It returns its extent, (size, size) from 0 to 1, from which its mask is cut. ``severity`` runs
from 0, hardly more than what the healthy show, to 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from counterpoise.generators.chest_phantom.anatomy import Anatomy, Chest
from counterpoise.generators.chest_phantom.shapes import cloud, inside, line, spot
from counterpoise.lazy import np

if TYPE_CHECKING:
    from collections.abc import Callable

    Paint = Callable[[Chest, np.random.Generator, float], np.ndarray]


def reshape(anatomy: Anatomy, severities: dict[str, float]) -> Anatomy:
    """What findings do to the shape of the organs."""
    if "Cardiomegaly" in severities:
        wider = anatomy.heart + 0.045 + 0.10 * severities["Cardiomegaly"]
        anatomy = replace(anatomy, heart=wider)
    if "Emphysema" in severities:
        s = severities["Emphysema"]
        anatomy = replace(
            anatomy,
            dome=anatomy.dome + 0.03 + 0.08 * s,
            sag=anatomy.sag * (0.75 - 0.45 * s),
            span=anatomy.span + 0.02 * s,
            heart=anatomy.heart * (0.96 - 0.08 * s),
            vessels=anatomy.vessels * (0.85 - 0.3 * s),
        )
    return anatomy


def _side(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def atelectasis(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """Collapse: one to three plates near the base, or a wedge that points to the hilum."""
    side = _side(rng)
    u, v = chest.place(side, rng.uniform(0.35, 0.6), rng.uniform(0.68, 0.88))
    slope = rng.uniform(-0.35, 0.2) * side
    x, y = chest.u - u, chest.v - v
    if rng.random() < 0.6:
        extent: np.ndarray = np.zeros_like(chest.u)
        length = 0.14 + 0.08 * severity
        for plate in range(1 + round(2 * rng.random() * severity)):
            d = y + 0.075 * plate - slope * x - 0.5 * x * x
            extent += line(d, 0.013 + 0.010 * severity, chest.view) * inside(
                length - np.abs(x), 0.08
            )
        extent = np.minimum(extent, 1) * chest.of(side)
        chest.fill(extent, 0.65 + 0.3 * severity)
    else:
        outward = side * x + 0.25
        spread = 0.05 + (0.28 + 0.22 * severity) * outward
        extent = inside(spread - np.abs(y - 0.25 * outward), chest.view, 0.04)
        extent = extent * inside(outward, 0.1) * chest.of(side)
        chest.fill(extent, 0.40 + 0.35 * severity)
    return extent


def cardiomegaly(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """A wide heart; see ``reshape``."""
    return chest.heart_alone


def effusion(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """Fluid in the costophrenic angle, with a meniscus that climbs the chest wall."""
    a = chest.anatomy
    side, both = _side(rng), rng.random() < 0.3
    extent: np.ndarray = np.zeros_like(chest.u)
    for this, height in ((side, severity), (-side, severity * rng.uniform(0.2, 0.8))):
        level = a.dome + a.sag * 0.85 + 0.02 - 0.36 * height
        climb = (0.08 + 0.12 * height) * np.exp(-np.clip(chest.wall, 0, None) / 0.07)
        extent += inside(chest.v - level + climb, chest.view, 0.03) * chest.of(this)
        if not both:
            break
    chest.fill(extent, 0.92)
    chest.bright = chest.bright + 0.03 * extent
    chest.vessels = chest.vessels * (1 - extent)
    return extent


def infiltration(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """Ill-defined patchy haze in one or both lungs."""
    patches = np.zeros_like(chest.u)
    side, both = _side(rng), rng.random() < 0.45
    for _ in range(3 + round(2 * severity)):
        this = _side(rng) if both else side
        place = chest.place(this, rng.uniform(0.2, 0.75), rng.uniform(0.35, 0.95))
        patches += spot(
            chest.u, chest.v, place, rng.uniform(0.08, 0.15), aspect=rng.uniform(0.7, 1.4)
        )
    mottle = inside(cloud(rng, chest.size, 16) + 0.3, 0.0, 1.2)
    extent: np.ndarray = np.minimum(patches, 1) * (0.35 + 0.65 * mottle) * chest.lung
    chest.fill(extent, 0.35 + 0.30 * severity)
    return extent


def _lump(chest: Chest, rng: np.random.Generator, radius: float, soft: float) -> np.ndarray:
    """A round opacity with a slightly lobed edge, somewhere in a lung."""
    side = _side(rng)
    u, v = chest.place(side, rng.uniform(0.3, 0.8), rng.uniform(0.2, 0.9))
    x, y = chest.u - u, chest.v - v
    angle, phase = np.arctan2(y, x), rng.uniform(0, 2 * np.pi, 2)
    lobes = 0.08 * np.sin(2 * angle + phase[0]) + 0.04 * np.sin(3 * angle + phase[1])
    lump: np.ndarray = inside(radius * (1 + lobes) - np.hypot(x, y), chest.view, soft) * chest.lung
    return lump


def mass(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """One large dense lump, over 3 cm."""
    extent: np.ndarray = _lump(chest, rng, 0.085 + 0.07 * severity, 0.045)
    chest.fill(extent, 0.55 + 0.25 * severity)
    return extent


def nodule(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """One to three small round opacities, under 3 cm."""
    extent: np.ndarray = np.zeros_like(chest.u)
    for _ in range(1 + (rng.random() < 0.35) + (rng.random() < 0.2)):
        lump = _lump(chest, rng, rng.uniform(0.036, 0.046) + 0.018 * severity, 0.015)
        extent = np.maximum(extent, lump)
    chest.fill(extent, 0.55 + 0.3 * severity)
    return extent


def _lobe(chest: Chest, rng: np.random.Generator, sharp: float) -> np.ndarray:
    """A part of a lung: above or below a fissure, fading away from it, with a ragged edge."""
    side, upper = _side(rng), rng.random() < 0.35
    u, v = chest.place(side, rng.uniform(0.4, 0.7), rng.uniform(0.45, 0.65))
    fissure = (chest.v - v + rng.uniform(0.0, 0.3) * side * (chest.u - u)) * (-1 if upper else 1)
    far = fissure - rng.uniform(0.30, 0.42) + 0.05 * cloud(rng, chest.size, 8)
    inner = rng.uniform(0.0, 0.25) - chest.out + 0.05 * cloud(rng, chest.size, 8)
    lobe = inside(fissure, chest.view, sharp) * inside(-far, 0.08) * inside(-inner, 0.1)
    chosen: np.ndarray = lobe * chest.of(side)
    return chosen


def pneumonia(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """A lobe filled up to its fissure; the airways in it stay dark (air bronchogram)."""
    extent: np.ndarray = _lobe(chest, rng, 0.0)
    airways = np.minimum(chest.vessels / chest.anatomy.vessels, 1)
    streaks = inside(cloud(rng, chest.size, 20), 0.0, 1.0)
    chest.fill(extent * (1 - 0.9 * airways) * (0.5 + 0.5 * streaks), 0.60 + 0.3 * severity)
    chest.vessels = chest.vessels * (1 - extent)
    return extent


def pneumothorax(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """Air outside the lung: a dark rim without vessels, widest at the top, behind a fine line."""
    side = _side(rng)
    width = (0.05 + 0.16 * severity) * np.clip(1.25 - 0.75 * chest.low, 0.25, 1.4)
    edge = width - chest.wall
    lateral = inside(chest.out - 0.15, 0.1) * chest.of(side)
    extent: np.ndarray = inside(edge, chest.view) * lateral
    chest.bright = chest.bright + 0.11 * line(edge, 0.008, chest.view) * lateral
    chest.vessels = chest.vessels * (1 - extent)
    chest.texture = chest.texture * (1 - 0.9 * extent)
    chest.fill(chest.of(side) * (1 - extent), 0.10 + 0.12 * severity)
    chest.fill(extent, -0.30 - 0.1 * severity)
    return extent


def consolidation(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """A dense, even region with a ragged edge that hides the vessels in it."""
    side = _side(rng)
    place = chest.place(side, rng.uniform(0.3, 0.7), rng.uniform(0.45, 0.95))
    radius = 0.14 + 0.09 * severity
    ragged = 0.07 * cloud(rng, chest.size, 7) + 0.025 * cloud(rng, chest.size, 18)
    away = np.hypot(chest.u - place[0], (chest.v - place[1]) / rng.uniform(0.8, 1.3))
    extent: np.ndarray = inside(radius - away + ragged, chest.view, 0.08) * chest.of(side)
    chest.fill(extent, 0.60 + 0.3 * severity)
    chest.vessels = chest.vessels * (1 - extent)
    return extent


def edema(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """Haze around both hila like the wings of a bat, with blurred vessels."""
    hilum = chest.anatomy.apex + 0.68
    wings = np.zeros_like(chest.u)
    for side in (-1, 1):
        place = (side * rng.uniform(0.22, 0.3), hilum + rng.uniform(-0.04, 0.06))
        wings += spot(chest.u, chest.v, place, 0.15 + 0.05 * severity, aspect=1.35)
    blurred = np.clip(cloud(rng, chest.size, 18), -2, 2)
    extent: np.ndarray = np.minimum(wings, 1) * chest.lung
    chest.fill(extent * (1 + 0.2 * blurred), 0.24 + 0.32 * severity)
    chest.vessels = chest.vessels * (1 - 0.6 * extent)
    return extent


def emphysema(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """Overfilled lungs: darker, with few vessels; flat diaphragm and slim heart by ``reshape``."""
    patchy = np.clip(1 + 0.25 * cloud(rng, chest.size, 6), 0.3, 1.7)
    chest.fill(chest.lung * patchy, -0.03 - 0.18 * severity)
    return chest.lung


def fibrosis(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """A net of fine lines at the bases and along the chest wall of both lungs."""
    basal = inside(chest.low - 0.68 + 0.12 * severity, 0.0, 0.3)
    rim = inside(0.14 - chest.wall, 0.0, 0.12)
    extent: np.ndarray = np.maximum(basal, 0.7 * rim * inside(chest.low - 0.25, 0.2)) * chest.lung
    extent = extent * inside(chest.out - 0.12, 0.1)
    net = np.maximum(
        np.exp(-np.square(cloud(rng, chest.size, 40) / 0.4)),
        np.exp(-np.square(cloud(rng, chest.size, 28) / 0.3)),
    )
    chest.fill(extent * net, 0.30 + 0.30 * severity)
    chest.fill(extent, 0.08)
    return extent


def pleural_thickening(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """A band of soft tissue along the chest wall, or a cap on the tip of the lung."""
    side = _side(rng)
    width = (0.048 + 0.045 * severity) * np.clip(1 + 0.25 * cloud(rng, chest.size, 8), 0.4, 1.6)
    if rng.random() < 0.3:
        width, along = 1.6 * width, inside(0.22 - chest.low, 0.0, 0.1)
    else:
        middle, half = rng.uniform(0.4, 0.75), 0.25 + 0.15 * severity
        along = inside(half - np.abs(chest.low - middle), 0.0, 0.15)
    extent: np.ndarray = (
        inside(width - chest.wall, chest.view, 0.01) * along * inside(chest.out - 0.3, 0.1)
    )
    extent = extent * chest.of(side)
    chest.fill(extent, 0.9)
    chest.bright = chest.bright + 0.03 * extent
    return extent


def hernia(chest: Chest, rng: np.random.Generator, severity: float) -> np.ndarray:
    """The stomach behind the heart: a round wall with gas above a level of fluid."""
    a = chest.anatomy
    radius = 0.13 + 0.06 * severity
    x = chest.u - rng.uniform(0.0, 0.13)
    y = chest.v - a.dome + radius * rng.uniform(0.3, 0.9)
    d = radius - np.hypot(x, y)
    extent: np.ndarray = inside(d, chest.view)
    gas = extent * inside(-y - rng.uniform(-0.3, 0.2) * radius, chest.view)
    chest.fill(extent, 0.9)
    wall = line(d, 0.016, chest.view)
    chest.bright = chest.bright + 0.03 * extent - (0.22 + 0.08 * severity) * gas + 0.14 * wall
    return extent


PAINT: dict[str, Paint] = {
    "Atelectasis": atelectasis,
    "Cardiomegaly": cardiomegaly,
    "Effusion": effusion,
    "Infiltration": infiltration,
    "Mass": mass,
    "Nodule": nodule,
    "Pneumonia": pneumonia,
    "Pneumothorax": pneumothorax,
    "Consolidation": consolidation,
    "Edema": edema,
    "Emphysema": emphysema,
    "Fibrosis": fibrosis,
    "Pleural_Thickening": pleural_thickening,
    "Hernia": hernia,
}
