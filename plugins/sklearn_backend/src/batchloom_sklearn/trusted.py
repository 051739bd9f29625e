"""The types that a saved estimator may hold, beside those that skops trusts of itself.

The list is this module's own: nothing in a file can add to it. Every entry is a class or function of
scikit-learn, NumPy or SciPy that does nothing on being loaded but hold what it is given. The types in
`CHECKED` index memory without looking; files with them pass `batchloom_sklearn.trees` as well.
"""

from __future__ import annotations

CHECKED: frozenset[str] = frozenset(
    {
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.tree._tree.Tree",
    }
)
"""Types that are trusted once their indices have been found to lie within bounds."""

_TABLE = """
functools: partial
numpy: dtype max mean median min sum
scipy._lib.array_api_compat.numpy._aliases: asarray
scipy.interpolate._bsplines: BSpline
scipy.sparse._csc: csc_array csc_matrix
scipy.sparse._csr: csr_array csr_matrix
sklearn._loss.loss: HalfGammaLoss HalfPoissonLoss HalfTweedieLoss HalfTweedieLossIdentity
sklearn.calibration: _CalibratedClassifier _SigmoidCalibration _TemperatureScaling
sklearn.cluster._bisect_k_means: _BisectingTree
sklearn.cluster._kmeans: _kmeans_single_elkan _kmeans_single_lloyd
sklearn.feature_selection._mutual_info: mutual_info_classif mutual_info_regression
sklearn.feature_selection._univariate_selection: chi2 f_classif f_oneway f_regression r_regression
sklearn.gaussian_process._gpc: _BinaryGaussianProcessClassifierLaplace
sklearn.gaussian_process.kernels: CompoundKernel ConstantKernel DotProduct ExpSineSquared
    Exponentiation Hyperparameter Matern PairwiseKernel Product RBF RationalQuadratic Sum WhiteKernel
sklearn.metrics._classification: accuracy_score balanced_accuracy_score f1_score log_loss
    precision_score recall_score
sklearn.metrics._dist_metrics: ChebyshevDistance64 EuclideanDistance64 ManhattanDistance64
sklearn.metrics._ranking: roc_auc_score
sklearn.metrics._regression: mean_absolute_error mean_squared_error r2_score
    root_mean_squared_error
sklearn.metrics._scorer: _CurveScorer _PassthroughScorer _Scorer
sklearn.model_selection._split: GroupKFold KFold LeaveOneOut RepeatedKFold RepeatedStratifiedKFold
    ShuffleSplit StratifiedKFold StratifiedShuffleSplit TimeSeriesSplit
sklearn.multiclass: _ConstantPredictor
sklearn.neural_network._stochastic_optimizers: AdamOptimizer SGDOptimizer
sklearn.utils._bunch: Bunch
sklearn.utils._metadata_requests: MetadataRequest MethodMetadataRequest
sklearn.utils.validation: check_array
"""


def _read(table: str) -> frozenset[str]:
    names, module = set(), ""
    for word in table.split():
        if word.endswith(":"):
            module = word[:-1]
        else:
            names.add(f"{module}.{word}")
    return frozenset(names)


TRUSTED: frozenset[str] = _read(_TABLE)
"""Full names of the types that are trusted as they are."""
