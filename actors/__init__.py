"""Who does it: one plain class per stage, over one shared loop."""
