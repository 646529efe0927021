"""How an event's properties become event fields and profile fields: a table of data and the code that applies it."""
