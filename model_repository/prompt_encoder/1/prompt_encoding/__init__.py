"""Turn a prompt into SDXL's embeddings, with two text encoders behind one callable."""

from .encoding import EncodedPrompt, PromptEncoder

__all__ = ["EncodedPrompt", "PromptEncoder"]
