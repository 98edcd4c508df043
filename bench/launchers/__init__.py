"""Engines that run a sweep's cells as jobs, here or on other machines: one file per engine."""
