"""The algorithms, a file each, and the registry that the rest of the toolkit reads them from."""
