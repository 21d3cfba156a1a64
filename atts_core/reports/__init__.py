"""What recorded runs say: where time went, what a barrier would have cost, how two of them differ."""
