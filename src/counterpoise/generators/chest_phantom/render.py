"""One picture of the phantom."""

from __future__ import annotations

from counterpoise.generators.chest_phantom import anatomy, findings
from counterpoise.generators.chest_phantom.anatomy import Chest
from counterpoise.generators.chest_phantom.cohort import FINDING, FINDINGS, GRAIN, VISIT, Scene
from counterpoise.generators.chest_phantom.shapes import cloud, inside, line
from counterpoise.lazy import np


def radiograph(scene: Scene, size: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Take the picture of a scene.

    The same scene gives the same bytes, at another size the same anatomy. Each finding has random
    numbers of its own, so a scene with fewer findings is the same picture without them.

    Returns:
        Grey values (size, size) as bytes, and for each finding of the scene a mask (size, size)
        as bool, true in at least one pixel.
    """
    standing = anatomy.pose(scene)
    severities = {name: _severity(scene, name) for name in FINDINGS if name in scene.findings}
    chest = Chest(scene, findings.reshape(anatomy.body(scene), severities), standing, size)
    masks = {}
    for name, severity in severities.items():
        place = np.random.default_rng((scene.seed, FINDING, scene.patient, FINDINGS.index(name)))
        extent = findings.PAINT[name](chest, place, severity)
        masks[name] = extent >= 0.4 * extent.max()
    return _expose(scene, standing, chest), masks


def _severity(scene: Scene, name: str) -> float:
    """A finding's severity: mostly the patient's, partly the visit's."""
    key = FINDINGS.index(name)
    lasting = np.random.default_rng((scene.seed, FINDING, scene.patient, key, 1)).random()
    passing = np.random.default_rng((scene.seed, FINDING, scene.index, key, 2)).random()
    return float(0.7 * lasting + 0.3 * passing)


def _expose(scene: Scene, standing: anatomy.Pose, chest: Chest) -> np.ndarray:
    """From absorbance to grey values: tubes, contrast curve, noise, marker."""
    rng = np.random.default_rng((scene.seed, VISIT, scene.index, 4))
    total = chest.absorbance()
    for _ in range(standing.tubes):
        start, slope, bow = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4)
        end = rng.uniform(-0.1, 0.6)
        d = chest.u - start - slope * chest.v - bow * np.square(chest.v)
        total = total + 0.12 * line(d, 0.008, chest.view) * inside(end - chest.v, chest.view)
    grain = np.random.default_rng((scene.seed, GRAIN, scene.index, chest.size))
    noise = standing.noise * (chest.size / 64) ** 0.5
    white = grain.standard_normal(total.shape, dtype=np.float32)
    total = total + noise * white + 0.6 * standing.noise * cloud(rng, chest.size, 24)
    shown = 0.5 + 0.5 * np.tanh(2.0 * (standing.contrast * (total - 0.45) + standing.level))
    pixels: np.ndarray = np.rint(255 * shown**standing.gamma).astype(np.uint8)
    return pixels
