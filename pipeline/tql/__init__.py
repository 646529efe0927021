"""Conditions in Tracardi's query language, compiled to closures."""
