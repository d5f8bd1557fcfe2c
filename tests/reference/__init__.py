"""The published pipeline, composed once more from diffusers' modules and independent of ``export``."""
