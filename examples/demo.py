"""One template pipeline, and models of every backend in it by name.

Trains each model on scikit-learn's digits, evaluates it on images that it has not seen, saves it, and has
another process load the file and predict the same. Each model gets a process of its own, so that its
time and memory are its own too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from batchloom import Batch, Dataset, Pipeline, action
from batchloom.errors import NamespaceNotInstalledError, PluginDisabledError
from batchloom.models import load_model

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets at length otherwise

MODELS: dict[str, dict[str, Any]] = {
    "sklearn/SGDClassifier": {"loss": "log_loss", "average": True},
    "sklearn/MLPClassifier": {"hidden_layer_sizes": [64], "learning_rate_init": 0.01},
    "sklearn/RandomForestClassifier": {"n_estimators": 200},
    "xgboost/XGBClassifier": {"n_estimators": 60, "max_depth": 3},
    "tf/Sequential": {
        "layers": [
            {"class_name": "Dense", "config": {"units": 64, "activation": "relu"}},
            {"class_name": "Dense", "config": {"units": 10, "activation": "softmax"}},
        ],
        "loss": "sparse_categorical_crossentropy",
        "optimizer": "adam",
        "learning_rate": 0.01,
    },
}
BATCH_SIZE, EPOCHS, AHEAD = 64, 15, 4


class Digits(Batch):
    """Images of handwritten digits, 8 × 8 pixels of 0 to 16 in a row."""

    components = "images", "labels"

    @action
    def scale(self) -> Digits:
        """Bring the pixels into the range from 0 to 1."""
        self.images = self.images / 16
        return self


def digits() -> Dataset:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    dataset = Dataset(batch_class=Digits, data={"images": images, "labels": labels})
    return dataset.split(0.8, shuffle=42)


def training(model: str, config: Mapping[str, Any]) -> Pipeline:
    """The template: linked to no dataset yet."""
    return (
        Pipeline()
        .init_model("dynamic", model, "model", config)
        .scale()
        .train_model("model", x="images", y="labels")
    )


def evaluation(trained: Pipeline) -> Pipeline:
    """A second template, which takes the model over from a pipeline that has trained it."""
    return (
        Pipeline()
        .import_model("model", trained)
        .init_variable("scores")
        .scale()
        .evaluate_model(
            "model", x="images", y="labels", metrics={"accuracy": accuracy}, save_to="scores"
        )
    )


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.mean(labels == classes(predicted)))


def classes(predicted: np.ndarray) -> np.ndarray:
    """The labels; a network predicts a probability for each of them."""
    return predicted.argmax(axis=-1) if predicted.ndim == 2 else predicted


@dataclass(frozen=True)
class Row:
    """What one model has come to."""

    accuracy: float
    seconds: float
    megabytes: float | None
    predicted: np.ndarray
    note: str


def train(model: str, config: Mapping[str, Any], file: Path) -> Row:
    """Train, evaluate and save one model, in the process that calls this."""
    data = digits()
    template = training(model, config)
    started = time.perf_counter()
    run = {"shuffle": 1, "n_epochs": EPOCHS, "prefetch": AHEAD}
    trained = (template << data.train).run(BATCH_SIZE, **run)
    tested = (evaluation(trained) << data.test).run(BATCH_SIZE, prefetch=AHEAD)
    seconds = time.perf_counter() - started
    trained.save_model("model", path=file)
    note = trained.describe().splitlines()[-1].partition(": ")[2]
    score = tested.get_variable("scores")["accuracy"]
    predicted = trained.get_model_by_name("model").predict(x=held_out(data))
    return Row(score, seconds, peak_memory(), predicted, note or "learns from each batch")


def predict_from(files: Mapping[str, Path]) -> tuple[int, dict[str, np.ndarray]]:
    """Load saved models and predict with each, in the process that calls this."""
    images = held_out(digits())
    return os.getpid(), {name: load_model(each).predict(x=images) for name, each in files.items()}


def held_out(data: Dataset) -> np.ndarray:
    return data.test.column("images") / 16


def peak_memory() -> float | None:
    """The most megabytes that this process has had in memory so far; None where nobody says."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(each for each in lines if each.startswith("VmHWM")).split()[1]) / 1024
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def elsewhere(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *args).result()


def introduce(data: Dataset) -> None:
    parts = f"{len(data.train):,} to learn from, {len(data.test):,} held out"
    template = training("sklearn/SGDClassifier", MODELS["sklearn/SGDClassifier"])
    print("One template pipeline, models of every backend by name\n")
    print(f"Data: scikit-learn's digits, {len(data):,} images of 8 x 8 pixels: {parts}\n")
    print(template)
    print(
        f"\nEach model of the table takes the place of that one, in a process of its own: {EPOCHS} epochs "
        f"in batches\nof {BATCH_SIZE}, {AHEAD} of them prepared ahead. The accuracy is that on the held-out "
        "images.\n"
    )


TABLE = "{:<32}{:>9}{:>9}{:>10}   {}"


def compete(models: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Row]:
    """Fill the table; models whose backend is not installed are left out, and a line says so."""
    print(TABLE.format("model", "accuracy", "time", "memory", "").rstrip())
    print("-" * 110)
    rows, left_out = {}, []
    for model, config in models.items():
        try:
            rows[model] = elsewhere(train, model, config, file_of(model, folder))
            show(model, rows[model])
        except (NamespaceNotInstalledError, PluginDisabledError) as exc:
            left_out.append(f"left out {exc}")
    print("", *left_out, sep="\n" if left_out else "")
    return rows


def show(model: str, row: Row) -> None:
    memory = "-" if row.megabytes is None else f"{row.megabytes:.0f} MB"
    figures = f"{row.accuracy:.3f}", f"{row.seconds:.1f} s", memory
    print(TABLE.format(model, *figures, row.note), flush=True)


def file_of(model: str, folder: Path) -> Path:
    return folder / f"{model.replace('/', '-')}.model"


def reload(rows: Mapping[str, Row], folder: Path) -> bool:
    """Have another process load the saved models; tell whether each predicts what it did."""
    print(f"Loading the models from {folder}/ in another process:")
    pid, predicted = elsewhere(predict_from, {each: file_of(each, folder) for each in rows})
    same = {each: np.array_equal(predicted[each], row.predicted) for each, row in rows.items()}
    for model, is_same in same.items():
        verdict = "the same predictions" if is_same else "OTHER PREDICTIONS"
        print(f"  {model:<32}{verdict} for all {len(predicted[model])} held-out images")
    return all(same.values()) and pid != os.getpid()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help=f"some of {', '.join(MODELS)}; default: all")
    parser.add_argument(
        "--out", type=Path, default=Path("demo-output"), help="folder for the files"
    )
    chosen = parser.parse_args()
    if unknown := [each for each in chosen.models if each not in MODELS]:
        parser.error(f"no such model in this demo: {', '.join(unknown)}")
    started = time.perf_counter()
    chosen.out.mkdir(parents=True, exist_ok=True)
    introduce(digits())
    rows = compete({each: MODELS[each] for each in chosen.models or MODELS}, chosen.out)
    same = reload(rows, chosen.out)
    print(f"\nAll of it took {time.perf_counter() - started:.0f} s.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
