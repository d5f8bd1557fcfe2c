"""Find the largest face in a picture and describe it, with two engines behind one callable."""

from .analysis import FaceAnalysis, FaceAnalyst

__all__ = ["FaceAnalysis", "FaceAnalyst"]
