"""Measurements behind choices of the humanoid: tables that one command makes again."""
