"""Find the largest face in a picture and describe it, over two engines that are given as a callable."""

from .analysis import FaceAnalysis, FaceAnalyst

__all__ = ["FaceAnalysis", "FaceAnalyst"]
