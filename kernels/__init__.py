"""Pure compute: arrays in, arrays out. A family a folder, a backend a file, `reference.py` is the specification."""
