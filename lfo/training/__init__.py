"""Offline training: batch sources, the loop, divergence, metrics, CUDA graphs."""
