"""Tests the model: how good it is, and which images it reads wrong."""

import csv
import json
import math
from collections import Counter
from pathlib import Path

import joblib
import numpy as np
import yaml
from matplotlib.figure import Figure
from sklearn.metrics import accuracy_score, log_loss, recall_score

params = yaml.safe_load(Path("params.yaml").read_text())["evaluate"]
model = joblib.load("model.joblib")
test = dict(np.load("data/test.npz"))

actual, probabilities = test["digits"], model.predict_proba(test["images"])
predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
wrong = np.flatnonzero(predicted != actual)
confused = Counter(f"{actual[i]} read as {predicted[i]}" for i in wrong)

metrics = {
    "accuracy": round(accuracy_score(actual, predicted), 4),
    "log_loss": round(log_loss(actual, probabilities, labels=model.classes_), 4),
    "lowest_recall": round(recall_score(actual, predicted, average=None).min(), 4),
    "mean_confidence": round(confidence.mean(), 4),
    "mistakes": len(wrong),
    "weights": sum(layer.size for layer in model.coefs_ + model.intercepts_),
    "most_confused": max(sorted(confused), key=confused.get, default="none"),
}
Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
for name, value in metrics.items():
    print(f"{name:>15}: {value}")

with open("plots/confusion.csv", "w", newline="") as file:
    csv.writer(file).writerows([("actual", "predicted"), *zip(actual, predicted)])

# Show the mistakes with the highest confidence first.
surest = wrong[np.argsort(-confidence[wrong], kind="stable")][: params["pictures"]]
columns = 6
rows = math.ceil(params["pictures"] / columns)
figure = Figure(figsize=(6.6, 1.45 * rows + 0.35), layout="constrained")
figure.suptitle(f"{len(surest)} of {len(wrong)} misread digits, the surest first")
axes = figure.subplots(rows, columns, squeeze=False).ravel()
for axis in axes:
    axis.axis("off")
for axis, i in zip(axes, surest):
    axis.imshow(test["images"][i].reshape(8, 8), cmap="gray_r", interpolation="bicubic")
    title = f"{actual[i]} read as {predicted[i]}\n{confidence[i]:.0%} sure"
    axis.set_title(title, fontsize=9)
figure.savefig("plots/misread.png", dpi=120, metadata={"Software": None})
