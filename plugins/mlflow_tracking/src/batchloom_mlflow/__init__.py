"""Every training of a Batchloom pipeline as an MLflow run."""

from batchloom_mlflow.reports import TrackingWarning
from batchloom_mlflow.trained import run_id_of

__version__ = "0.1.0"

__all__ = ["TrackingWarning", "run_id_of"]
