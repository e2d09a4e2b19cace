"""Acting in an environment: evaluation, the rounds of the inverse stage, video."""
