"""Offline learning from observation: from trajectories without actions to a policy that acts."""
