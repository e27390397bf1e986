"""scikit-learn's digits in the files and the format of MNIST.

The 1,797 digits of 8 x 8 pixels are enlarged to 20 x 20 and centred in 28 x 28, as MNIST's own
digits are. The first 1,437 stand in for the training file, the rest for the test file (in
scikit-learn's order the two have different writers).
"""

from __future__ import annotations

from pathlib import Path

from counterpoise.datasets._idx import write_idx
from counterpoise.datasets.multimnist import DIGIT, FILES
from counterpoise.lazy import np
from counterpoise.spec import base


class Options(base.Options):
    """There are no options."""


def generate(folder: Path, options: Options) -> None:
    """Write the four archives of MNIST."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    digits = load_digits()
    large = zoom(digits.images / 16.0, (1, 2.5, 2.5), order=1)
    images = np.zeros((len(large), DIGIT, DIGIT), np.uint8)
    images[:, 4:24, 4:24] = np.rint(np.clip(large, 0, 1) * 255)
    labels = digits.target.astype(np.uint8)
    for part, chosen in (("train", slice(0, 1437)), ("test", slice(1437, None))):
        write_idx(folder / FILES[part, "images"], images[chosen])
        write_idx(folder / FILES[part, "labels"], labels[chosen])
