"""A new base from two parents: any vision tower and any causal language model of transformers, with our vocabulary.

1. ``parents``: the tower, the language model and its tokenizer, each looked at before anything is made.
2. ``vocabulary``: the tokenizer gains our tokens; what it does to text, and the chat template, stay.
3. ``joining``: the weights in one model; only the projector and the rows of the new tokens are new.
4. ``compose``: all of it into a folder, with the codecs that ship and a model card.
"""

from generalist.composing.compose import ComposeOptions, compose

__all__ = ["ComposeOptions", "compose"]
