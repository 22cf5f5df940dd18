"""Splits scikit-learn's handwritten digits into train, validation and test."""

from pathlib import Path

import numpy as np
import yaml
from sklearn.datasets import load_digits

params = yaml.safe_load(Path("params.yaml").read_text())["prepare"]
images, digits = load_digits(return_X_y=True)
images = images / 16  # pixels from 0 to 1

# The test set comes first, so that its images do not depend on the sizes of the other sets.
shuffled = np.random.default_rng(params["seed"]).permutation(len(digits))
Path("data").mkdir(exist_ok=True)
for split in ("test", "validation", "train"):
    size = params[f"{split}_images"]
    if size > len(shuffled):
        raise SystemExit(f"prepare.{split}_images: only {len(shuffled)} images left")
    chosen, shuffled = shuffled[:size], shuffled[size:]
    np.savez(f"data/{split}.npz", images=images[chosen], digits=digits[chosen])
    print(f"{split:>10}: {size:4} images")
