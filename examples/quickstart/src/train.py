"""Trains a small neural network to read digits, and records its loss after every epoch."""

import csv
from pathlib import Path

import joblib
import numpy as np
import yaml
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

DIGITS = range(10)

params = yaml.safe_load(Path("params.yaml").read_text())["train"]
train = dict(np.load("data/train.npz"))
validation = dict(np.load("data/validation.npz"))

model = MLPClassifier(
    hidden_layer_sizes=[params["hidden_units"]],
    learning_rate_init=params["learning_rate"],
    batch_size=params["batch_size"],
    alpha=params["weight_decay"],
    random_state=params["seed"],
)


def loss_on(split):
    probabilities = model.predict_proba(split["images"])
    return log_loss(split["digits"], probabilities, labels=DIGITS)


Path("plots").mkdir(exist_ok=True)
with open("plots/loss.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["epoch", "train", "validation"])
    for epoch in range(1, params["epochs"] + 1):
        model.partial_fit(train["images"], train["digits"], classes=DIGITS)
        losses = [f"{loss_on(split):.4f}" for split in (train, validation)]
        table.writerow([epoch, *losses])
        print(f"epoch {epoch:3}  train {losses[0]}  validation {losses[1]}", flush=True)

joblib.dump(model, "model.joblib")
