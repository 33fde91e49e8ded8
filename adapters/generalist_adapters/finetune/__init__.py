"""Few-shot training: from a handful of labelled pictures to an adapter with figures that one can trust.

Stages and what they hand on:

1. ``data``: a folder -> records to learn from, to stop early by, and to measure with; tasks and classes.
2. ``pictures``: record -> picture with everything labelled in it; ``augment`` varies it.
3. ``questions``: picture -> questions with answers, in the words that the base model knows.
4. ``packing``: questions -> token rows, several on one image; ``replay`` adds scenes of the base's world.
5. ``fit``: rows -> the trained adapter, interruptible at any step (``standing``); ``head_fit`` teaches a visual head
   from pictures as they are, without 3 and 4.
6. ``measure``: held-out records -> figures before and after, and of ``baseline``, a small network from scratch.
7. ``report``: model card, curves, predictions. ``run`` strings it all together.
"""
