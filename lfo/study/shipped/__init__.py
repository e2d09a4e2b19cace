"""Studies that ship, by the name that ``d3g-lfo study NAME`` takes: one TOML file of fields each."""
