"""Measurements: one file for each question asked; the README says how to repeat them."""
