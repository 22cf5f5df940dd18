"""Trains a small convolutional network to read digits, and records its loss after every epoch."""

import csv
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import yaml
from keras import layers

params = yaml.safe_load(Path("params.yaml").read_text())["train"]
train = dict(np.load("data/train.npz"))
validation = dict(np.load("data/validation.npz"))

# Makes results reproducible on the same kind of machine, also with a GPU.
keras.utils.set_random_seed(params["seed"])
tf.config.experimental.enable_op_determinism()

model = keras.Sequential(
    [
        layers.Input((28, 28)),
        layers.Rescaling(1 / 255),  # pixels from 0 to 1
        layers.Reshape((28, 28, 1)),
        layers.Conv2D(params["filters"], 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(2 * params["filters"], 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(params["dropout"]),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(params["learning_rate"]),
    loss="sparse_categorical_crossentropy",
)
history = model.fit(
    train["images"],
    train["digits"],
    validation_data=(validation["images"], validation["digits"]),
    batch_size=params["batch_size"],
    epochs=params["epochs"],
    verbose=2,  # one line for each epoch
).history
model.save("model.keras")

Path("plots").mkdir(exist_ok=True)
with open("plots/loss.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["epoch", "train", "validation"])
    for epoch, losses in enumerate(zip(history["loss"], history["val_loss"]), start=1):
        table.writerow([epoch, *(f"{loss:.4f}" for loss in losses)])
