"""Downloads the handwritten digits, and splits off some training images for validation."""

from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import yaml

params = yaml.safe_load(Path("params.yaml").read_text())["data"]
with urlopen(params["url"]) as answer:
    mnist = dict(np.load(BytesIO(answer.read())))

images, digits = mnist["x_train"], mnist["y_train"]
shuffled = np.random.default_rng(params["seed"]).permutation(len(digits))
validation, train = np.split(shuffled, [round(params["validation"] * len(digits))])
splits = {
    "train": (images[train], digits[train]),
    "validation": (images[validation], digits[validation]),
    "test": (mnist["x_test"], mnist["y_test"]),
}

Path("data").mkdir(exist_ok=True)
for split, (images, digits) in splits.items():
    np.savez_compressed(f"data/{split}.npz", images=images, digits=digits)
    print(f"{split:>10}: {len(digits):5} images")
