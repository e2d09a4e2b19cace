"""Run folders: the record, checkpoints, files that appear whole, and loading an agent again."""
