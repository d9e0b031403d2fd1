"""The on-disk truth: names, schema, units, bodies, files."""
