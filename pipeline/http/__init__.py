"""Outbound HTTP: what the dispatcher and the workflow nodes call with."""
