"""Measurements: one harness, one format of records, one report. Ratios and rates, with their conditions."""
