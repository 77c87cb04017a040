"""The sign-free pursuit of one neuron after another."""
