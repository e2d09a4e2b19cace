"""Networks for M members at once, the units they work in, and the losses as pure functions."""
