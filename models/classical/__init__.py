"""Densities in closed form or fitted without gradients: Gaussians, mixtures, histograms, kernels."""
