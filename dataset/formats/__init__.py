"""Recorded sequences as files of other tools: for interchange only, the data set itself is `dataset.store`."""
