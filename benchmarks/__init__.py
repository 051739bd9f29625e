"""Speed as ratios: Batchloom and its peers beside the loop that one would have written oneself."""
