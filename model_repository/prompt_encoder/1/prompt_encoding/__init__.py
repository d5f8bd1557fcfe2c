"""Turn a prompt into SDXL's embeddings, over two text encoders that are given as a callable."""

from .encoding import EncodedPrompt, PromptEncoder

__all__ = ["EncodedPrompt", "PromptEncoder"]
