"""The durable partitioned log: the only road between stages."""
