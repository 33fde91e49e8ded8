"""Visual heads: small networks that answer plain questions for boxes, masks and numbers in a language model's place.

A language model that lists things one by one learns to list twenty of them from thousands of pictures, not from a
dozen; a network that looks for all of them at once does. A head reads the tower's maps, leaves the model as it is, and
is served as an adapter by name: ``TransformersEngine.look`` asks it first, and what it does not answer the base does.

1. ``wording``: the words of a request -> what is asked for.
2. ``pyramid``: image -> maps of the vision tower; ``network``: maps -> centres, sides and classes of pixels.
3. ``decode``: these -> boxes and masks. ``head`` strings it together and is the file on disk.
"""
