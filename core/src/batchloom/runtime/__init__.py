"""The runtime: turns the definition of a pipeline into a plan, and runs it over batches."""
