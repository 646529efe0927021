"""Conditions in Tracardi's query language, compiled to closures."""

from pipeline.tql.condition import Condition, compile_condition
from pipeline.tql.parse import TqlError

__all__ = ["Condition", "TqlError", "compile_condition"]
