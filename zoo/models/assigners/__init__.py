"""Assigners: which prior or region stands for which object."""
