"""Environments: making them, their action spaces, stepping them. Never imports torch."""
