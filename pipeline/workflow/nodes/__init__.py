"""Node types, one file each; the registry is in pipeline.workflow.registry."""
