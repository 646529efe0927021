"""Where documents and definitions are kept."""
