"""Trains a classifier of handwritten digits, on one machine or on several.

The data are the 1797 real 8x8 scans that come with scikit-learn, so nothing is
downloaded. Run it as it is; in a TFJob with several workers the operator sets
TF_CONFIG, and the same file trains one model on all of them.

It prints one JSON object a line: the loss of every epoch, then the accuracy on
scans that it has not seen.
"""

import argparse
import json
import os

# The Keras that knows every distribution strategy; before TensorFlow is loaded.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402


def say(**facts):
    """Prints one result for people and programs."""
    print(json.dumps(facts), flush=True)


def strategy():
    """Several workers where TF_CONFIG names several, else this machine."""
    workers = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {}).get("worker", [])
    if len(workers) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


def data():
    """The scans as numbers from 0 to 1, split the same way every time."""
    scans, digits = load_digits(return_X_y=True)
    scans = (scans / 16.0).astype("float32").reshape(-1, 8, 8, 1)
    return train_test_split(scans, digits, test_size=0.25, random_state=0, stratify=digits)


def build(learning_rate):
    """A small convolutional network."""
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Input((8, 8, 1)),
            tf.keras.layers.Conv2D(32, 3, activation="relu", padding="same"),
            tf.keras.layers.MaxPooling2D(),
            tf.keras.layers.Conv2D(64, 3, activation="relu", padding="same"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(10),
        ]
    )
    model.compile(
        optimizer=tf.keras.optimizers.Adam(learning_rate),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train(epochs, batch, learning_rate):
    """Trains, and returns the accuracy on unseen scans."""
    tf.keras.utils.set_random_seed(0)
    train_x, test_x, train_y, test_y = data()
    distribution = strategy()
    with distribution.scope():
        model = build(learning_rate)
    seen = tf.data.Dataset.from_tensor_slices((train_x, train_y)).shuffle(len(train_x), seed=0)
    seen = seen.batch(batch * distribution.num_replicas_in_sync, drop_remainder=True)
    unseen = tf.data.Dataset.from_tensor_slices((test_x, test_y)).batch(len(test_x))
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    for epoch in range(1, epochs + 1):
        history = model.fit(seen.with_options(options), epochs=1, verbose=0).history
        say(epoch=epoch, loss=round(history["loss"][0], 4), replicas=distribution.num_replicas_in_sync)
    _, accuracy = model.evaluate(unseen.with_options(options), verbose=0)
    say(accuracy=round(float(accuracy), 4))
    return accuracy


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32, help="scans a step, for each worker")
    parser.add_argument("--learning-rate", type=float, default=0.002)
    args = parser.parse_args()
    train(args.epochs, args.batch, args.learning_rate)


if __name__ == "__main__":
    main()
