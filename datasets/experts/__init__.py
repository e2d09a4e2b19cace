"""The built-in experts, one safetensors file an environment."""
