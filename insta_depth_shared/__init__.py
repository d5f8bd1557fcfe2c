"""Code shared by the Python models; export copies this package into each model's version folder."""
