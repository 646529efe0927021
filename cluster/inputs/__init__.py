"""Files that `rayfold send` understands, one reader each: all yield encoded tracker payloads."""
