"""What several Python models share; export copies this package into each model's version folder."""
