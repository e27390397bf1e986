"""The healthy chest: how bodies and exposures vary, and what each layer absorbs.

Places are in body units: u from -1 to 1 across a picture (the patient's right is at negative u,
on the left of the picture, as radiographs are hung), v from -1 to 1 downwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.generators.chest_phantom.cohort import PATIENT, VISIT, Scene
from counterpoise.generators.chest_phantom.shapes import cloud, inside, line, merge, spot
from counterpoise.lazy import np


@dataclass(frozen=True)
class Anatomy:
    """A patient's body on the day of the picture; lengths in body units."""

    span: float
    """From the midline to the inner chest wall."""
    apex: float
    """Height of the lungs' tips."""
    dome: float
    """Height of the right dome of the diaphragm."""
    sag: float
    """From the dome down to the costophrenic angle."""
    left_lower: float
    """How much lower the left dome is."""
    heart: float
    """Width of the heart over that of the thorax."""
    heart_tilt: float
    heart_place: float
    aorta: float
    fat: float
    breast: float
    breast_drop: float
    rib_spacing: float
    rib_phase: float
    rib_slope: float
    bone: float
    air: float
    """How much the lungs darken the picture."""
    vessels: float
    texture: float
    bubble: float
    """Gas in the stomach."""


@dataclass(frozen=True)
class Pose:
    """How the patient stands and how the picture is exposed."""

    shift: tuple[float, float]
    turn: float
    scale: float
    rotation: float
    """Turn about the long axis: one lung is darker than the other."""
    level: float
    contrast: float
    gamma: float
    noise: float
    blur: float
    tubes: int


def body(scene: Scene) -> Anatomy:
    """The patient's anatomy, with the breath taken at this visit."""
    rng = np.random.default_rng((scene.seed, PATIENT, scene.patient))
    z = rng.standard_normal(20)
    visit = np.random.default_rng((scene.seed, VISIT, scene.index, 1)).standard_normal(4)
    second, supine = scene.domain == "second", scene.view == "AP"
    woman, old = scene.sex == "F", (scene.age - 47) / 16.6
    breath = 0.055 * visit[0] + (0.06 if supine else 0.0)
    fat = abs(0.05 + 0.05 * z[3]) + (0.05 if second else 0.0)
    return Anatomy(
        span=0.70 + 0.035 * z[0] - (0.03 if woman else 0.0) + (0.04 if second else 0.0),
        apex=-0.73 + 0.035 * z[1] + 0.3 * breath,
        dome=0.36 + 0.05 * z[2] - breath - 0.5 * fat,
        sag=0.18 + 0.035 * z[4] + 0.01 * visit[1],
        left_lower=0.035 + 0.04 * z[5],
        heart=0.435 + 0.033 * z[6] + 0.008 * old + (0.045 if supine else 0.0) + 0.4 * breath
        + (0.015 if second else 0.0),
        heart_tilt=0.62 + 0.08 * z[7],
        heart_place=0.11 + 0.02 * z[8],
        aorta=0.075 + 0.008 * z[9] + 0.009 * old,
        fat=fat,
        breast=max(0.0, 0.075 + 0.035 * z[10]) if woman else max(0.0, 0.02 * z[10]),
        breast_drop=0.28 + 0.05 * z[11] + 0.03 * old,
        rib_spacing=0.122 + 0.005 * z[12],
        rib_phase=rng.random(),
        rib_slope=0.20 + 0.05 * z[13],
        bone=0.055 * np.exp(0.2 * z[14]) * (1 - 0.1 * old),
        air=0.40 * np.exp(0.10 * z[15] + 0.08 * visit[2] - (0.06 if supine else 0.0)),
        vessels=0.10 * np.exp(0.2 * z[16] + 0.1 * visit[3]),
        texture=0.016 * np.exp(0.25 * z[17]),
        bubble=max(0.0, 0.07 + 0.06 * visit[1]),
    )  # fmt: skip


def pose(scene: Scene) -> Pose:
    """Position and exposure of this visit."""
    rng = np.random.default_rng((scene.seed, VISIT, scene.index, 2))
    z = rng.standard_normal(10)
    second, supine = scene.domain == "second", scene.view == "AP"
    loose = 1.6 if supine else 1.0
    return Pose(
        shift=(0.05 * loose * z[0], 0.05 * loose * z[1]),
        turn=0.025 * loose * z[2],
        scale=float(np.exp(0.06 * loose * z[3])) * (0.95 if second else 1.0),
        rotation=0.05 * loose * z[4],
        level=0.05 * z[5] + (0.05 if second else 0.0),
        contrast=float(np.exp(0.12 * z[6])) * (1.25 if second else 1.0),
        gamma=float(np.exp(0.12 * z[7])) * (0.85 if second else 1.0),
        noise=0.010 * float(np.exp(0.3 * z[8])) * (1.8 if second else 1.0),
        blur=0.008 * float(np.exp(0.4 * z[9])) * (1.5 if supine else 1.0),
        tubes=int(rng.choice(3, p=(0.35, 0.35, 0.30) if supine else (0.93, 0.05, 0.02))),
    )


class Chest:
    """The layers of a picture, each (size, size): findings change them before they are summed."""

    def __init__(self, scene: Scene, anatomy: Anatomy, standing: Pose, size: int) -> None:
        self.anatomy, self.size = anatomy, size
        axis = ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1) / standing.scale
        x, y = axis[None, :] - standing.shift[0], axis[:, None] - standing.shift[1]
        self.u, self.v = x - standing.turn * y, y + standing.turn * x
        self.view = float(np.hypot(2 / size, standing.blur)) / standing.scale
        self.across = np.abs(self.u)
        self.right = self.u < 0
        self._lungs()
        self._heart()
        lasting = np.random.default_rng((scene.seed, PATIENT, scene.patient, 1))
        passing = np.random.default_rng((scene.seed, VISIT, scene.index, 3))
        self.vessels = self._vessels(lasting)
        self.bright = self._tissue() + self._bones() + 0.20 * self.heart
        fine, coarse = cloud(lasting, size, 48), cloud(lasting, size, 14)
        self.texture = anatomy.texture * (fine + 0.7 * coarse)
        turned = 1 + standing.rotation * np.sign(self.u)
        self.air = anatomy.air * turned * (1 - 0.85 * self.heart)
        self.haze = 1 - 0.10 * np.clip(cloud(passing, size, 3), -2, 2)

    def fill(self, extent: np.ndarray, amount: float) -> None:
        """Take the air out of a region; ``amount`` 1 leaves none."""
        self.air = self.air * (1 - amount * extent)

    def absorbance(self) -> np.ndarray:
        """The sum of the layers: about 0.15 in the lungs, 0.5 in soft tissue, 0.8 in the spine."""
        inner = (self.vessels + self.texture) * (0.3 + 0.7 * self.depth) - self.air * self.depth
        total: np.ndarray = self.body * (0.15 + self.bright + self.lung * self.haze * inner) - 0.15
        return total

    def _lungs(self) -> None:
        a = self.anatomy
        middle, radius = (a.span + 0.10) / 2, (a.span - 0.10) / 2
        widest = a.apex + 0.62 * (a.dome - a.apex)
        down = self.v - widest
        p = (self.across - middle * (1 + 0.06 * down)) / radius
        q = np.minimum(down, 0) / (widest - a.apex)
        self.wall = (1 - np.sqrt(np.abs(p) ** 2.6 + q * q)) * radius
        tilt = (self.across - 0.9 * middle) / radius
        floor = a.dome + a.sag * tilt * np.where(tilt > 0, tilt, 0.35 * tilt)
        self.floor = floor + a.left_lower * inside(self.u, 0.2)
        self.lung = inside(np.minimum(self.wall, self.floor - self.v), self.view)
        self.depth = 0.45 + 0.55 * np.clip(self.wall / (0.7 * radius), 0, 1)
        # Along the lung: 0 at the hilum to 1 at the chest wall, and 0 at the tip to 1 at the dome.
        self.out = (self.across - 0.10) / (a.span - 0.10)
        self.low = (self.v - a.apex) / (a.dome - a.apex)

    def place(self, side: int, out: float, low: float) -> tuple[float, float]:
        """Body coordinates of a place in a lung: ``side`` -1 is the patient's right."""
        a = self.anatomy
        return side * (0.10 + out * (a.span - 0.10)), a.apex + low * (a.dome - a.apex)

    def of(self, side: int) -> np.ndarray:
        """The lung of one side, as coverage."""
        return self.lung * (self.right if side < 0 else ~self.right)

    def _heart(self) -> None:
        a = self.anatomy
        half = a.heart * a.span
        u, v = self.u - a.heart_place, self.v - (a.dome + 0.06 - 0.8 * half)
        cos, sin = np.cos(a.heart_tilt), np.sin(a.heart_tilt)
        long, short = (cos * u + sin * v) / (1.14 * half), (cos * v - sin * u) / (0.80 * half)
        heart = (1 - np.sqrt(long * long + short * short)) * half
        widening = 0.10 + 0.05 * np.square(np.clip(self.v - a.apex - 0.55, -1, 0) / 0.55)
        stem = np.minimum(widening - np.abs(self.u - 0.015), self.v - a.apex - 0.05)
        knob = a.aorta - np.hypot(self.u - 0.075, 0.8 * (self.v - a.apex - 0.42))
        trunk = 0.08 - np.hypot(self.u - 0.10, 0.7 * (self.v - a.apex - 0.60))
        edge = merge(merge(heart, stem, 0.16), merge(knob, trunk, 0.08), 0.05)
        solid = inside(edge, self.view, 0.015) * inside(a.dome + 0.15 - self.v, 0.15)
        self.heart = solid * (0.6 + 0.4 * np.clip(edge / 0.15, 0, 1))
        self.heart_alone = inside(heart, self.view, 0.012)

    def _vessels(self, rng: np.random.Generator) -> np.ndarray:
        """Branches that fan out from each hilum, thinner and fainter outwards, and some end on."""
        a, view = self.anatomy, self.view
        hilum = a.apex + 0.63
        x = self.across - 0.13
        y = self.v - hilum - np.where(self.right, 0.03, 0)
        r = np.hypot(x, y) + 1e-3
        bend = np.arctan2(y, x) + 0.16 * cloud(rng, self.size, 7)
        phases = rng.random(4) * 2 * np.pi
        total = 0.9 * spot(x, y, (0.02, 0.03), 0.07, view, 1.4)
        for branches, width, start, end, pair in (
            (7, 0.016, 0.0, 0.42, 0),
            (16, 0.009, 0.12, 0.75, 2),
        ):
            phase = np.where(self.right, phases[pair], phases[pair + 1])
            d = r * np.abs(np.sin((bend * branches + phase) / 2)) * (2 / branches)
            shown = np.clip((r - start) / 0.05, 0, 1) * np.clip(1 - r / end, 0, 1)
            total += line(d, width * (1 - 0.5 * np.minimum(r / end, 1)), view) * shown
        for _ in range(rng.integers(2, 9)):
            angle, far = rng.uniform(-1.4, 1.4), rng.uniform(0.08, 0.38)
            place = (
                rng.choice((-1, 1)) * (0.13 + far * np.cos(angle)),
                hilum + far * np.sin(angle),
            )
            total += rng.uniform(0.5, 1.2) * spot(
                self.u, self.v, place, rng.uniform(0.012, 0.024), view
            )
        return a.vessels * total

    def _tissue(self) -> np.ndarray:
        """Body outline, chest wall, abdomen with gastric gas, breasts, windpipe."""
        a, u, v, across, view = self.anatomy, self.u, self.v, self.across, self.view
        shoulder = a.apex - 0.13 + 0.42 * np.square(np.clip(across - 0.2, 0, None)) - a.fat
        outline = np.maximum(v - shoulder, 0.21 + 0.5 * a.fat - across)
        trunk = a.span + 0.17 + a.fat
        axilla = np.minimum(0.35 * (v + 0.12 + a.fat), 0.10) - np.abs(across - trunk - 0.11)
        self.body = inside(outline, view, 0.02) * (1 - inside(axilla, view, 0.02))
        thick = 0.44 + 0.12 * np.sqrt(np.clip(1 - np.square(u / 1.25), 0, 1)) + 0.4 * a.fat
        thick = thick - 0.10 * inside(across - trunk, view, 0.08)
        belly = inside(v - self.floor, view, 0.02) * inside(a.span - across, view, 0.06)
        gas = spot(u, v, (0.36, a.dome + a.left_lower + 0.11), 0.075, view, 0.6)
        tissue = thick + 0.20 * belly - a.bubble * 2.2 * gas * belly
        if a.breast > 0.01:
            x, y = (across - 0.44) / 0.34, (v - a.breast_drop) / 0.36
            round_off = np.clip(1 - x * x - np.where(y > 0, 1.9 * y * y, y * y), 0, 1)
            tissue = tissue + a.breast * np.sqrt(round_off)
        windpipe = inside(0.035 - np.abs(u - 0.01), view, 0.015) * inside(-0.10 - v, view, 0.05)
        drawn: np.ndarray = tissue - 0.06 * windpipe
        return drawn

    def _bones(self) -> np.ndarray:
        """Ribs, spine, collar bones and shoulder blades."""
        a, u, v, across, view = self.anatomy, self.u, self.v, self.across, self.view
        cage = inside(self.wall + 0.035, view, 0.02)
        spacing, width = a.rib_spacing, 0.42 * a.rib_spacing
        back = v - a.apex - a.rib_slope * across - 0.35 * across * across
        front = (v - a.apex + 0.75 * across - 0.30 * across * across) / 1.12
        bones = np.zeros_like(v)
        for curve, strength, shown in (
            (back, 1.0, cage * inside(a.dome + 0.22 - v, view, 0.15)),
            (
                front,
                0.65,
                cage * inside(across - 0.30, view, 0.12) * inside(a.dome - 0.05 - v, view, 0.2),
            ),
        ):
            turns = curve / spacing + a.rib_phase
            d = np.abs(turns - np.rint(turns)) * spacing
            bones += (
                strength
                * shown
                * (inside(width / 2 - d, view, 0.01) + 0.6 * line(d - width / 2, 0.006, view))
            )
        bones += (
            1.1
            * inside(0.068 - np.abs(u), view, 0.02)
            * (1.6 + 0.4 * np.cos(v * (2 * np.pi / 0.115)))
        )
        collar = v - a.apex - 0.14 + 0.20 * across - 0.06 * np.sin(across * 7)
        long = inside(across - 0.07, view, 0.03) * inside(a.span + 0.08 - across, view, 0.05)
        bones += (
            1.8
            * long
            * (
                inside(0.022 - np.abs(collar), view, 0.01)
                + 0.5 * line(np.abs(collar) - 0.022, 0.006, view)
            )
        )
        blade = across - a.span + 0.02 - 0.22 * (v + 0.25)
        high = inside(v - a.apex - 0.12, view, 0.1) * inside(0.05 - v, view, 0.15)
        bones += 0.7 * high * inside(blade, view, 0.02) * inside(a.span + 0.12 - across, view, 0.1)
        drawn: np.ndarray = a.bone * bones
        return drawn
