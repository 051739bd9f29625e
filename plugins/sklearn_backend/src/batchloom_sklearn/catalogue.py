"""Which estimators scikit-learn publishes, and in which module: known without importing it.

The table is that of scikit-learn 1.9; a name that an older release lacks is refused by the resolver
when its module is searched, one that a newer release has added is found there.
"""

from __future__ import annotations

from collections.abc import Mapping

_TABLE = """
calibration: CalibratedClassifierCV
cluster: AffinityPropagation AgglomerativeClustering Birch BisectingKMeans DBSCAN
    FeatureAgglomeration HDBSCAN KMeans MeanShift MiniBatchKMeans OPTICS SpectralBiclustering
    SpectralClustering SpectralCoclustering
compose: ColumnTransformer TransformedTargetRegressor
covariance: EllipticEnvelope EmpiricalCovariance GraphicalLasso GraphicalLassoCV LedoitWolf
    MinCovDet OAS ShrunkCovariance
cross_decomposition: CCA PLSCanonical PLSRegression PLSSVD
decomposition: DictionaryLearning FactorAnalysis FastICA IncrementalPCA KernelPCA
    LatentDirichletAllocation MiniBatchDictionaryLearning MiniBatchNMF MiniBatchSparsePCA NMF PCA
    SparseCoder SparsePCA TruncatedSVD
discriminant_analysis: LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis
dummy: DummyClassifier DummyRegressor
ensemble: AdaBoostClassifier AdaBoostRegressor BaggingClassifier BaggingRegressor
    ExtraTreesClassifier ExtraTreesRegressor GradientBoostingClassifier GradientBoostingRegressor
    HistGradientBoostingClassifier HistGradientBoostingRegressor IsolationForest
    RandomForestClassifier RandomForestRegressor RandomTreesEmbedding StackingClassifier
    StackingRegressor VotingClassifier VotingRegressor
feature_extraction: DictVectorizer FeatureHasher
feature_extraction.image: PatchExtractor
feature_extraction.text: CountVectorizer HashingVectorizer TfidfTransformer TfidfVectorizer
feature_selection: GenericUnivariateSelect RFE RFECV SelectFdr SelectFpr SelectFromModel SelectFwe
    SelectKBest SelectPercentile SequentialFeatureSelector VarianceThreshold
frozen: FrozenEstimator
gaussian_process: GaussianProcessClassifier GaussianProcessRegressor
impute: KNNImputer MissingIndicator SimpleImputer
isotonic: IsotonicRegression
kernel_approximation: AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler
    SkewedChi2Sampler
kernel_ridge: KernelRidge
linear_model: ARDRegression BayesianRidge ElasticNet ElasticNetCV GammaRegressor HuberRegressor
    Lars LarsCV Lasso LassoCV LassoLars LassoLarsCV LassoLarsIC LinearRegression
    LogisticRegression LogisticRegressionCV MultiTaskElasticNet MultiTaskElasticNetCV
    MultiTaskLasso MultiTaskLassoCV OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV
    PassiveAggressiveClassifier PassiveAggressiveRegressor Perceptron PoissonRegressor
    QuantileRegressor RANSACRegressor Ridge RidgeCV RidgeClassifier RidgeClassifierCV
    SGDClassifier SGDOneClassSVM SGDRegressor TheilSenRegressor TweedieRegressor
manifold: ClassicalMDS Isomap LocallyLinearEmbedding MDS SpectralEmbedding TSNE
mixture: BayesianGaussianMixture GaussianMixture
model_selection: FixedThresholdClassifier GridSearchCV RandomizedSearchCV
    TunedThresholdClassifierCV
multiclass: OneVsOneClassifier OneVsRestClassifier OutputCodeClassifier
multioutput: ClassifierChain MultiOutputClassifier MultiOutputRegressor RegressorChain
naive_bayes: BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB
neighbors: KNeighborsClassifier KNeighborsRegressor KNeighborsTransformer KernelDensity
    LocalOutlierFactor NearestCentroid NearestNeighbors NeighborhoodComponentsAnalysis
    RadiusNeighborsClassifier RadiusNeighborsRegressor RadiusNeighborsTransformer
neural_network: BernoulliRBM MLPClassifier MLPRegressor
pipeline: FeatureUnion Pipeline
preprocessing: Binarizer FunctionTransformer KBinsDiscretizer KernelCenterer LabelBinarizer
    LabelEncoder MaxAbsScaler MinMaxScaler MultiLabelBinarizer Normalizer OneHotEncoder
    OrdinalEncoder PolynomialFeatures PowerTransformer QuantileTransformer RobustScaler
    SplineTransformer StandardScaler TargetEncoder
random_projection: GaussianRandomProjection SparseRandomProjection
semi_supervised: LabelPropagation LabelSpreading SelfTrainingClassifier
svm: LinearSVC LinearSVR NuSVC NuSVR OneClassSVM SVC SVR
tree: DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor
"""

EXPERIMENTAL: Mapping[str, tuple[str, str]] = {
    "HalvingGridSearchCV": ("model_selection", "enable_halving_search_cv"),
    "HalvingRandomSearchCV": ("model_selection", "enable_halving_search_cv"),
    "IterativeImputer": ("impute", "enable_iterative_imputer"),
}
"""Class name -> its module, and the module of ``sklearn.experimental`` that unlocks it."""


def _read(table: str) -> dict[str, str]:
    modules: dict[str, str] = {}
    module = ""
    for word in table.split():
        if word.endswith(":"):
            module = word[:-1]
        else:
            modules[word] = module
    return modules


ESTIMATORS: Mapping[str, str] = _read(_TABLE)
"""Class name -> module below ``sklearn``, for every public estimator."""

MODULES: tuple[str, ...] = tuple(dict.fromkeys(ESTIMATORS.values()))
"""The modules of ``sklearn`` that have estimators."""
