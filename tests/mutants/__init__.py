"""Backends that are wrong on purpose, one planted bug each, and a correct one: the oracle is tested with them."""
