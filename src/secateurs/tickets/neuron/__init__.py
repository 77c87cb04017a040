"""One neuron inside a random layer: subsets, bounds, errors."""
