"""A model that keeps every promise, and for each check of the kit one that breaks it.

Installed as a package of its own by the tests, so that other processes find it by its entry points.
"""

from __future__ import annotations

import pickle
import tempfile
import threading
import time

import numpy as np

from batchloom.errors import ModelConfigError, ModelNotBuiltError, nearest
from batchloom.models import BaseModel


class Centroids(BaseModel):
    """Nearest mean, batch by batch."""

    data_args = ("x", "y")
    predict_is_thread_safe = True

    @classmethod
    def describe_config(cls):
        return {"classes": 3, "sizes": ()}

    def _build(self, *args, pipeline=None, batch=None, **kwargs):
        known = [*self.describe_config(), "build", "load", "path"]
        for key in self.config:
            if key not in known:
                raise ModelConfigError(f"no option {key!r}{nearest(key, known)}")
        self.sums = self.counts = None

    def _train(self, x, y):
        x = x.reshape(len(x), -1)
        if self.sums is None:
            self.sums, self.counts = np.zeros((3, x.shape[1])), np.zeros((3, 1))
        np.add.at(self.sums, y, x)
        np.add.at(self.counts, y, 1)

    def _predict(self, x):
        if getattr(self, "sums", None) is None:
            raise ModelNotBuiltError("nothing has been learned yet")
        return self.distances(x).argmin(axis=1)

    def distances(self, x):
        means = self.sums / np.maximum(self.counts, 1)
        return ((x.reshape(len(x), 1, -1) - means) ** 2).sum(axis=-1)

    def _save(self, path):
        np.savez(path / "means.npz", sums=self.sums, counts=self.counts)

    def _load(self, path):
        with np.load(path / "means.npz", allow_pickle=False) as arrays:
            self.sums, self.counts = arrays["sums"], arrays["counts"]


class Exact(Centroids):
    """Predicts numbers in which every bit of the state shows."""

    def _predict(self, x):
        super()._predict(x)
        return self.distances(x)


class MadeFromItsConfig(Centroids):
    def _build(self, *args, **kwargs):
        super()._build()
        self.config["sizes"].append(3)


class UnknownConfigKeys(Centroids):
    def _build(self, *args, **kwargs):
        self.sums = None


class ConfigIsListed(Centroids):
    @classmethod
    def describe_config(cls):
        return {"classes": 3}

    def _build(self, *args, **kwargs):
        self.sums = None


class CoreKeys(Centroids):
    def _build(self, *args, **kwargs):
        if "build" in self.config:
            raise ModelConfigError("no option 'build'")
        super()._build()


class NotBuilt(Centroids):
    def _predict(self, x):
        return np.zeros(len(x)) if not hasattr(self, "sums") else super()._predict(x)


class StaticAndDynamic(Centroids):
    def _build(self, *args, batch=None, **kwargs):
        super()._build()
        self.width = batch.x.shape[1]


class ModelsShareNothing(Exact):
    memory: dict = {}

    def _train(self, x, y):
        super()._train(x, y)
        self.memory.update(sums=self.sums)

    def distances(self, x):
        return super().distances(x) + self.memory["sums"].sum()


class BuildAndLoad(Centroids):
    load_needs_build = False

    def _build(self, *args, **kwargs):
        super()._build()
        self.scale = 1

    def distances(self, x):
        return super().distances(x) * self.scale


class UnknownArguments(Centroids):
    def _train(self, x, y=None, **kwargs):
        if y is not None:
            super()._train(x, y)


class TrainsAndPredicts(Centroids):
    def _train(self, x, y):
        if len(x) < 2:
            raise ValueError("the variance of one item")
        super()._train(x, y)


class Learns(Centroids):
    def _predict(self, x):
        return super()._predict(x) * 0


class PredictingChangesNothing(Exact):
    asked = 0

    def distances(self, x):
        self.asked += 1
        return super().distances(x) + self.asked


class LeavesItsDataAlone(Exact):
    def _train(self, x, y):
        x -= x.mean(axis=0)
        super()._train(x, y)


class KeepsItsData(Exact):
    def _build(self, *args, **kwargs):
        super()._build()
        self.kept = []

    def _train(self, x, y):
        self.kept.append((x, y))

    def _end_epoch(self, epoch, last):
        for x, y in self.kept:
            super()._train(x, y)
        self.kept.clear()


class SameWithTheSameSeed(Exact):
    def _train(self, x, y):
        super()._train(x + np.random.random(), y)


class AbandonedRuns(Centroids):
    running = False

    def _begin_run(self, run):
        if self.running:
            raise RuntimeError("a run is going on")
        self.running = True

    def _end_epoch(self, epoch, last):
        self.running = not last


class SameWithPrefetch(Exact):
    def _train(self, x, y):
        super()._train(x + threading.active_count(), y)


class ThreadSafe(Exact):
    def distances(self, x):
        self.asked = x
        time.sleep(1e-4)
        return super().distances(self.asked)


def _local():
    class ProcessPools(Centroids):
        pass

    return ProcessPools


ProcessPools = _local()
NOTES: dict = {}


class SavedAndLoadedElsewhere(Centroids):
    def _save(self, path):
        super()._save(path)
        NOTES.update(sums=self.sums, counts=self.counts)

    def _load(self, path):
        super()._load(path)
        self.sums, self.counts = NOTES["sums"], NOTES["counts"]


class SavingChangesNothing(Exact):
    def _save(self, path):
        super()._save(path)
        self.sums *= 0.5


class InterruptedSaves(Centroids):
    def _save(self, path):
        try:
            (path / "means").write_bytes(self.sums.tobytes() + self.counts.tobytes())
        except OSError:
            pass

    def _load(self, path):
        found = np.frombuffer((path / "means").read_bytes()).reshape(3, -1)
        self.sums, self.counts = found[:, :-1], found[:, -1:]


class CorruptFiles(Exact):
    def _load(self, path):
        try:
            super()._load(path)
        except Exception:
            self.sums, self.counts = np.zeros((3, 4)), np.zeros((3, 1))


class NoPicklesInFiles(Centroids):
    def _save(self, path):
        (path / "state").write_bytes(pickle.dumps((self.sums, self.counts)))

    def _load(self, path):
        self.sums, self.counts = pickle.loads((path / "state").read_bytes())


class ResourcesReleased(Centroids):
    def _build(self, *args, **kwargs):
        super()._build()
        tempfile.mkstemp(prefix="forgotten-")


class LeavesAThread(Centroids):
    def _build(self, *args, **kwargs):
        super()._build()
        threading.Thread(target=time.sleep, args=(4,), name="forgotten", daemon=True).start()


class LeavesTheProcessAlone(Centroids):
    def _train(self, x, y):
        np.random.seed(0)
        super()._train(x, y)
