"""Workflows: a directed acyclic graph of nodes that turns one event into effects."""
