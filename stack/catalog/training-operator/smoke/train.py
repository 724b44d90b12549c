"""Trains a small convolutional network on scikit-learn's handwritten digits,
distributed over parameter servers and workers as TF_CONFIG names them.

Every worker holds its own shard, and the shards share no digit: worker i of n
has the digits d with d % n == i. The parameters live on the servers. A step is
synchronous: each worker reads the parameters, computes the gradient of one
batch of its shard, and sends it; worker 0 averages the gradients of all, in
worker order, and applies them. So no worker can learn all ten digits alone,
one that is missing stops the training, and the same cluster gives the same
weights to the bit every time.

Each process writes JSON lines to stdout. Worker 0 ends with a "result" line,
and fails unless the loss fell and the accuracy on digits that nobody trained
on reaches the goal.
"""

import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

EPOCHS = int(os.environ.get("EPOCHS", "12"))
BATCH = int(os.environ.get("BATCH", "32"))  # of each worker
GOAL = float(os.environ.get("GOAL", "0.9"))  # accuracy on the held-out digits
SEED = int(os.environ.get("SEED", "7"))
HELD_OUT = 360  # of the 1797 digits
LEARNING_RATE = 0.002
JOIN_SECONDS = float(os.environ.get("JOIN_SECONDS", "300"))  # for the others to start
STEP_SECONDS = float(os.environ.get("STEP_SECONDS", "60"))  # for the others' part of a step

v1 = tf.compat.v1


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Task:
    """This process's place in the cluster."""

    def __init__(self, config):
        cluster = config["cluster"]
        self.servers = cluster.get("ps", [])
        self.workers = cluster.get("worker", [])
        self.job = config["task"]["type"]
        self.index = int(config["task"]["index"])
        if not self.servers or not self.workers:
            raise SystemExit("TF_CONFIG names no parameter server, or no worker")
        self.chief = self.job == "worker" and self.index == 0
        self.spec = tf.train.ClusterSpec({"ps": self.servers, "worker": self.workers})

    def wait_for_servers(self):
        """Connects to every parameter server once. gRPC would wait too, but
        asks again for a name that did not resolve only after half a minute."""
        end = time.monotonic() + JOIN_SECONDS
        for address in self.servers:
            host, port = address.rsplit(":", 1)
            while True:
                try:
                    socket.create_connection((host, int(port)), timeout=5).close()
                    break
                except OSError as error:
                    if time.monotonic() > end:
                        raise SystemExit(f"parameter server {address} did not answer: {error}")
                    time.sleep(0.2)

    def server(self):
        config = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        return tf.distribute.Server(self.spec, job_name=self.job, task_index=self.index, config=config)


def serve(task):
    """Runs a parameter server until it is told to end."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = task.server()
    say("serving", ps=task.index)
    ended.wait()
    del server
    say("ended", ps=task.index)
    sys.stdout.flush()
    os._exit(0)  # the server's own threads never end


def load(task):
    """Returns this worker's shard and the held-out digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., np.newaxis]
    labels = digits.target.astype(np.int32)
    order = np.random.RandomState(SEED).permutation(len(labels))
    train, test = order[HELD_OUT:], order[:HELD_OUT]
    mine = train[labels[train] % len(task.workers) == task.index]
    if len(mine) < BATCH:
        raise SystemExit(f"{len(task.workers)} workers are too many for ten digits")
    return (images[mine], labels[mine]), (images[test], labels[test])


class Model:
    """The network, with its variables on the parameter servers."""

    def __init__(self):
        draw = np.random.RandomState(SEED + 1)
        shapes = {
            "conv1": (3, 3, 1, 16), "bias1": (16,),
            "conv2": (3, 3, 16, 32), "bias2": (32,),
            "dense": (2 * 2 * 32, 10), "bias3": (10,),
        }
        self.weights = {}
        for name, shape in shapes.items():
            fan_in = int(np.prod(shape[:-1]))
            start = draw.randn(*shape) * np.sqrt(2.0 / fan_in) if len(shape) > 1 else np.zeros(shape)
            self.weights[name] = v1.get_variable(name, initializer=start.astype(np.float32), use_resource=True)

    def logits(self, images):
        w = self.weights
        x = tf.nn.relu(tf.nn.conv2d(images, w["conv1"], 1, "SAME") + w["bias1"])
        x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        x = tf.nn.relu(tf.nn.conv2d(x, w["conv2"], 1, "SAME") + w["bias2"])
        x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        return tf.matmul(tf.reshape(x, (-1, 2 * 2 * 32)), w["dense"]) + w["bias3"]


class Trainer:
    """The graph of one worker, and how the workers keep in step."""

    def __init__(self, task):
        self.task = task
        own = f"/job:worker/task:{task.index}"
        with v1.device(v1.train.replica_device_setter(cluster=task.spec, worker_device=own)):
            self.model = Model()
            self.images = v1.placeholder(tf.float32, (None, 8, 8, 1))
            self.labels = v1.placeholder(tf.int32, (None,))
            logits = self.model.logits(self.images)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=self.labels, logits=logits)
            self.loss = tf.reduce_mean(losses)
            self.predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
            variables = list(self.model.weights.values())
            gradients = tf.gradients(self.loss, variables)
            optimizer = v1.train.AdamOptimizer(LEARNING_RATE)
            # The queues lie on a server under names that all workers share.
            with v1.device("/job:ps/task:0"):
                types, shapes = [v.dtype.base_dtype for v in variables], [v.shape for v in variables]
                sent = [v1.FIFOQueue(1, types, shapes, shared_name=f"gradients-{i}") for i in range(len(task.workers))]
                turns = [v1.FIFOQueue(1, [tf.int64], [()], shared_name=f"turn-{i}") for i in range(len(task.workers))]
            self.take_turn = turns[task.index].dequeue()
            self.send = sent[task.index].enqueue(gradients)
            if task.chief:
                self.step = v1.placeholder(tf.int64, ())
                self.give_turns = tf.group(*[q.enqueue([self.step]) for q in turns])
                received = [q.dequeue() for q in sent]
                mean = [tf.add_n(list(each)) / len(sent) for each in zip(*received)]
                self.apply = optimizer.apply_gradients(zip(mean, variables))
                self.initialize = v1.global_variables_initializer()

    def session(self):
        # Without the filter a session waits for every process of the cluster.
        filters = ["/job:ps", f"/job:worker/task:{self.task.index}"]
        return v1.Session(self.task.server().target, config=v1.ConfigProto(device_filters=filters))


def run(session, fetches, seconds, feed=None):
    options = v1.RunOptions(timeout_in_ms=int(seconds * 1000))
    try:
        return session.run(fetches, feed_dict=feed, options=options)
    except tf.errors.DeadlineExceededError:
        raise SystemExit(f"a process of the cluster did not do its part within {seconds:g} seconds")


def train(task):
    shard, held_out = load(task)
    counts = {str(d): int((shard[1] == d).sum()) for d in range(10) if (shard[1] == d).any()}
    say("shard", worker=task.index, workers=len(task.workers), size=len(shard[1]), labels=counts)
    task.wait_for_servers()
    with v1.Graph().as_default():
        trainer = Trainer(task)
        with trainer.session() as session:
            if task.chief:
                run(session, trainer.initialize, JOIN_SECONDS)
            losses = epochs(task, trainer, session, shard)
            if task.chief:
                finish(trainer, session, held_out, losses)


def epochs(task, trainer, session, shard):
    """Trains, and returns the mean loss of each epoch on this worker's shard."""
    images, labels = shard
    # The same number of steps everywhere: the shards' sizes differ a little.
    steps = 1797 // len(task.workers) * 4 // 5 // BATCH
    draw = np.random.RandomState(SEED + 2 + task.index)
    losses = []
    for epoch in range(EPOCHS):
        order = draw.permutation(len(labels))
        sum_of_losses = 0.0
        for step in range(steps):
            number = epoch * steps + step
            patience = JOIN_SECONDS if number == 0 else STEP_SECONDS
            if task.chief:
                run(session, trainer.give_turns, patience, {trainer.step: number})
            if run(session, trainer.take_turn, patience) != number:
                raise SystemExit("out of step with worker 0")
            batch = order[step * BATCH:(step + 1) * BATCH]
            loss, _ = run(session, [trainer.loss, trainer.send], patience,
                          {trainer.images: images[batch], trainer.labels: labels[batch]})
            sum_of_losses += float(loss)
            if task.chief:
                run(session, trainer.apply, patience)
        losses.append(sum_of_losses / steps)
        say("epoch", worker=task.index, epoch=epoch + 1, loss=round(losses[-1], 6))
    return losses


def finish(trainer, session, held_out, losses):
    images, labels = held_out
    predicted = run(session, trainer.predicted, STEP_SECONDS, {trainer.images: images})
    accuracy = float((predicted == labels).mean())
    weights = run(session, trainer.model.weights, STEP_SECONDS)
    digest = hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights))).hexdigest()
    passed = accuracy >= GOAL and losses[-1] < losses[0] / 2
    say("result", accuracy=round(accuracy, 4), goal=GOAL, held_out=len(labels), first_loss=round(losses[0], 6),
        last_loss=round(losses[-1], 6), weights_sha256=digest, passed=passed)
    if not passed:
        raise SystemExit("the loss did not fall, or the accuracy missed its goal")


def main():
    if "TF_CONFIG" not in os.environ:
        raise SystemExit("TF_CONFIG is not set: this program runs as a process of a cluster")
    task = Task(json.loads(os.environ["TF_CONFIG"]))
    say("start", job=task.job, index=task.index, ps=len(task.servers), workers=len(task.workers), tensorflow=tf.__version__)
    v1.disable_eager_execution()
    tf.config.experimental.enable_op_determinism()
    if task.job == "ps":
        serve(task)
    else:
        train(task)


if __name__ == "__main__":
    main()
