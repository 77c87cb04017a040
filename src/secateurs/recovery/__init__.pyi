__all__ = [
    "LayerMatch",
    "NeuronMatch",
    "PlantedProblem",
    "ReLUFit",
    "SparseReLUNetworkRegressor",
    "SparseReLURegressor",
    "exchange",
    "gauss_newton",
    "iht",
    "iht_network",
    "image_figure",
    "image_function",
    "match_neurons",
    "planted_relu",
    "relu_pursuit",
    "relu_sampling",
    "sample_network",
]

from .estimator import SparseReLURegressor
from .figures import image_figure
from .layer_matching import LayerMatch
from .matching import NeuronMatch, match_neurons
from .network_estimator import SparseReLUNetworkRegressor
from .planted import PlantedProblem, image_function, planted_relu
from .pursuit.search import ReLUFit, relu_pursuit
from .sampling.layered import sample_network
from .sampling.search import relu_sampling
from .thresholding.exchange import exchange
from .thresholding.gauss_newton import gauss_newton
from .thresholding.iht import iht
from .thresholding.layer_by_layer import iht_network
