"""Tests the model: how good it is, and which images it reads wrong."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageOps

params = yaml.safe_load(Path("params.yaml").read_text())["evaluate"]
model = keras.models.load_model("model.keras")
test = dict(np.load("data/test.npz"))

actual, probabilities = test["digits"], model.predict(test["images"], verbose=0)
predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
wrong = np.flatnonzero(predicted != actual)

metrics = {
    "accuracy": round(float((predicted == actual).mean()), 4),
    "loss": round(model.evaluate(test["images"], actual, verbose=0), 4),
    "mistakes": len(wrong),
    "weights": model.count_params(),
}
Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
for name, value in metrics.items():
    print(f"{name:>10}: {value}")

with open("plots/confusion.csv", "w", newline="") as file:
    csv.writer(file).writerows([("actual", "predicted"), *zip(actual, predicted)])

# Show the mistakes with the highest confidence first.
surest = wrong[np.argsort(-confidence[wrong], kind="stable")][: params["pictures"]]
columns, side, line = 4, 96, 44
rows = -(-params["pictures"] // columns)
sheet = Image.new("L", (columns * side, rows * (side + line)), color="white")
draw = ImageDraw.Draw(sheet)
for place, i in enumerate(surest):
    x, y = place % columns * side, place // columns * (side + line)
    picture = ImageOps.invert(Image.fromarray(test["images"][i]))
    sheet.paste(picture.resize((side, side)), (x, y + line))
    said = f"{actual[i]} read as {predicted[i]}\n{confidence[i]:.0%} sure"
    draw.multiline_text((x + side / 2, y + 4), said, font_size=14, anchor="ma", align="center")
sheet.save("plots/misread.png")
